"""What pg_dump, pg_restore and psql say, read: an archive's contents, how far a restore is, what the server refused.

Pure. Details, contexts and statements are left out, and values at the end of a complaint are too: they are rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from toolkit.errors import BackupError

_ENTRY = re.compile(r"(?P<id>\d+); \d+ \d+ (?P<what>.+)")
_NO_LOCK = ("could not obtain lock on relation", "due to lock timeout")
_BEGUN = re.compile(r"pg_restore: from TOC entry \d+; \d+ \d+ (?P<what>.+)")
_REFUSED = re.compile(
    r"pg_restore: error: (?:could not execute query|COPY failed for table .*?): (?:ERROR: +)?(?P<said>.*)"
)
_FATAL = re.compile(r"pg_restore: error: (?P<said>.*)")
_FINISHED = re.compile(r"pg_restore: finished item (?P<id>\d+) ")
_IN_TURN = re.compile(r"pg_restore: (?:creating|processing data for table|executing [A-Z]+ SET) ")
_IGNORED = re.compile(r"pg_restore: warning: errors ignored on restore: \d+")
_VALUE = re.compile(r':? "[^"]*"$|: .*$')
# True of every database: `public` is there from the start, and servers before 17 do not know that setting.
_HARMLESS = ('schema "public" already exists', 'unrecognized configuration parameter "transaction_timeout"')
_SECTIONS = {"TABLE DATA": "data", "BLOBS": "data", "SEQUENCE SET": "data"}
LONGEST = 200


@dataclass(frozen=True)
class Contents:
    """What an archive says that it holds: `what` (`TABLE DATA public events churn_owner`) by dump id."""

    entries: Mapping[int, str]

    @classmethod
    def read(cls, listing: str) -> Self:
        """From what `pg_restore --list` prints."""
        entries = (_ENTRY.fullmatch(line) for line in listing.splitlines() if not line.startswith(";"))
        return cls({int(entry["id"]): entry["what"] for entry in entries if entry})

    def find(self, kind: str, schema: str, name: str) -> int | None:
        """The dump id of an entry of that kind (`TABLE`, `TABLE DATA`, …); None when there is none."""
        wanted = f"{kind} {schema} {name} "
        return next((number for number, what in self.entries.items() if f"{what} ".startswith(wanted)), None)


class RestoreWords:
    """pg_restore's words (`--verbose`), taken as they come."""

    def __init__(
        self, contents: Contents, folder: Path | None, schemas: Sequence[str] = (), sections: Sequence[str] = ()
    ) -> None:
        self.refused: list[str] = []
        self._about, self._rest, self._done, self._fatal = "", "", 0.0, ""
        self._ends_regularly = False
        self._weights = _weights(contents, folder, schemas, sections)

    @property
    def far(self) -> tuple[float, float]:
        """How much is done, of how much: bytes of a folder's files and one for each other entry."""
        whole = float(sum(self._weights.values()))
        return min(self._done, whole), whole

    def take(self, more: str) -> None:
        """What it said since the last time, which may end in the middle of a line."""
        *lines, self._rest = (self._rest + more).split("\n")
        for line in lines:
            self._read(line)

    def outcome(self, code: int) -> list[str]:
        """What was refused, when it came to its end; BackupError when it did not."""
        self._read(self._rest)
        if code and not (self._ends_regularly and not self._fatal):
            raise BackupError(f"pg_restore failed: {self._fatal or complaint('', code)}")
        return self.refused

    def _read(self, line: str) -> None:
        if begun := _BEGUN.match(line):
            self._about = begun["what"].rpartition(" ")[0]
        elif refused := _REFUSED.match(line):
            self._refuse(refused["said"], of_rows="COPY failed" in line)
        elif fatal := _FATAL.match(line):
            self._fatal = self._fatal or _shortened(fatal["said"])
        elif finished := _FINISHED.search(line):
            self._done += self._weights.get(int(finished["id"]), 1)
        elif _IN_TURN.match(line):
            self._done += 1
        elif _IGNORED.match(line):
            self._ends_regularly = True

    def _refuse(self, said: str, *, of_rows: bool) -> None:
        if any(harmless in said for harmless in _HARMLESS):
            return
        told = _VALUE.sub("", said) if of_rows else said
        self.refused.append(_shortened(f"{self._about}: {told}" if self._about else told))


def is_no_lock(words: str) -> bool:
    """Whether pg_dump ended because it did not get a table's lock."""
    return any(each in words for each in _NO_LOCK)


def complaint(words: str, code: int) -> str:
    """The first line that is an error, without the program's name. Statements and details are left out."""
    lines = [line.strip() for line in words.splitlines()]
    marks = ("error: ", "ERROR:  ", "FATAL:  ")
    errors = [line.partition(mark)[2] for line in lines for mark in marks if mark in line]
    signal = -code if code < 0 else 256 - code if code > 128 else 0
    ended = f"it was ended by signal {signal}" if signal else "it said nothing"
    return _shortened(next(iter(errors or [line for line in lines if line]), ended))


def _weights(
    contents: Contents, folder: Path | None, schemas: Sequence[str], sections: Sequence[str]
) -> dict[int, float]:
    """How much each wanted entry counts, by its id."""
    wanted = {
        number: what
        for number, what in contents.entries.items()
        if (not schemas or any(f" {schema} " in f" {what} " for schema in schemas))
        and (not sections or "data" in sections or not what.startswith(tuple(_SECTIONS)))
    }
    sizes = {file.name.split(".")[0]: file.stat().st_size for file in folder.glob("*.dat*")} if folder else {}
    return {number: 1.0 + sizes.get(str(number), 0) for number in wanted}


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"

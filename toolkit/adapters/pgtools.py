"""pg_dump and pg_restore as programs: how they are started, bounded, ended, and what their words mean.

The password reaches them by libpq's environment variables only, and no other secret of this process does; arguments can
be read by anybody on the machine. A dump ends with the process that began it, however that one ends.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from toolkit.adapters.postgres import Database
from toolkit.errors import BackupError
from toolkit.lifeline import Lifeline, spawn
from toolkit.server import Binaries, find_binaries

LIST_WITHIN_S = 60.0
END_WITHIN_S = 5.0
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
_ENTRY = re.compile(r"(?P<id>\d+); \d+ \d+ (?P<what>.+)")
_NO_LOCK = "could not obtain lock on relation"


@dataclass(frozen=True)
class Contents:
    """What an archive says that it holds: `what` (`TABLE DATA public events churn_owner`) by dump id."""

    entries: Mapping[int, str]

    def find(self, kind: str, schema: str, name: str) -> int | None:
        """The dump id of an entry of that kind (`TABLE`, `TABLE DATA`, …); None when there is none."""
        wanted = f"{kind} {schema} {name} "
        return next((number for number, what in self.entries.items() if f"{what} ".startswith(wanted)), None)


class PgTools:
    """The programs of one installation."""

    def __init__(self, binaries: Binaries) -> None:
        self.binaries = binaries

    @classmethod
    def found(cls, bindir: Path | None) -> Self:
        """Those in `bindir`, or the embedded ones."""
        return cls(find_binaries(bindir))

    def version(self) -> str:
        """Of pg_dump, such as '18.6'. BackupError when it cannot be run; UsageError when it is not there."""
        said = _run([self.binaries.program("pg_dump"), "--version"], "pg_dump", {}, LIST_WITHIN_S)
        return said.split()[2]

    def dump(
        self,
        database: Database,
        folder: Path,
        *,
        schemas: Sequence[str],
        snapshot: str,
        jobs: int,
        compression: int,
        lock_within_ms: int,
    ) -> "Dump":
        """Begin to dump these schemas into `folder`, which must not exist. Ends with this process at the latest."""
        words: list[str | Path] = ["--format=directory", f"--jobs={jobs}", f"--compress={compression}", "--no-password"]
        words += [f"--schema={_pattern(schema)}" for schema in schemas]
        words += ["--strict-names", f"--snapshot={snapshot}", f"--lock-wait-timeout={lock_within_ms}"]
        words += ["--file", folder.resolve()]
        return Dump([self.binaries.program("pg_dump"), *words], database.libpq())

    def contents(self, folder: Path) -> Contents:
        """What pg_restore reads in an archive's table of contents. BackupError when it cannot be read."""
        said = _run([self.binaries.program("pg_restore"), "--list", folder], "pg_restore", {}, LIST_WITHIN_S)
        entries = (_ENTRY.fullmatch(line) for line in said.splitlines() if not line.startswith(";"))
        return Contents({int(entry["id"]): entry["what"] for entry in entries if entry})


class Dump:
    """A dump that is being made. Use as a context manager: what leads out of it early ends the program."""

    def __init__(self, argv: Sequence[str | Path], libpq: Mapping[str, str]) -> None:
        self._lifeline = Lifeline.create()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the dump
        guarded = [sys.executable, "-m", "toolkit.lifeline", "SIGTERM", *argv]
        environment = _environment(libpq)
        self._process = spawn(guarded, lifeline=self._lifeline, env=environment, stdout=self._words, stderr=self._words)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lifeline.cut()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._lifeline.reading)
        self._words.close()

    def wait(self, within_s: float) -> None:
        """Until it is whole. Raises LockedOut when a lock could not be had, BackupError for every other end."""
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise BackupError(f"pg_dump was not done in {within_s:g} s", state="it was ended") from None
        if code:
            self._words.seek(0)
            words = self._words.read().decode(errors="replace")
            kind = LockedOut if _NO_LOCK in words or "due to lock timeout" in words else BackupError
            raise kind(f"pg_dump failed: {_complaint(words, code)}")


class LockedOut(BackupError):
    """A dump ended because somebody waits for, or holds, an exclusive lock on a table."""


def _run(argv: Sequence[str | Path], program: str, more: Mapping[str, str], within_s: float) -> str:
    try:
        done = subprocess.run(
            argv, env=_environment(more), capture_output=True, text=True, timeout=within_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackupError(f"{program} could not be run: {type(error).__name__}") from None
    if done.returncode:
        raise BackupError(f"{program} failed: {_complaint(done.stderr, done.returncode)}")
    return done.stdout


def _environment(libpq: Mapping[str, str]) -> dict[str, str]:
    """What the programs need and nothing else: no token, no URL, and libpq's variables from here only."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("PGSSL")}
    return kept | dict(libpq) | {"PGAPPNAME": "toolkit-backup", "PGCONNECT_TIMEOUT": "5", "LC_MESSAGES": "C"}


def _complaint(words: str, code: int) -> str:
    """The first line that is an error, without the program's name. Statements and details are left out."""
    lines = [line.strip() for line in words.splitlines()]
    errors = [line.partition("error: ")[2] for line in lines if "error: " in line]
    signal = -code if code < 0 else 256 - code if code > 128 else 0
    ended = f"it was ended by signal {signal}" if signal else "it said nothing"
    return next(iter(errors or [line for line in lines if line]), ended)


def _pattern(name: str) -> str:
    """A schema's name as pg_dump's patterns take it literally."""
    return '"' + name.replace('"', '""') + '"'

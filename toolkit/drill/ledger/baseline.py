"""What the database held before traffic: every event id, kept so small that millions cost nothing.

Ids that end in a number are kept as runs of numbers. This is exact, needs to know nothing of how ids are made, and
lets the accounting say which row of before is gone.
"""

import contextlib
import re
import sqlite3
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.clock import utc_now
from toolkit.drill.ledger.book import micros, open_for_writing, telling, transaction
from toolkit.drill.ledger.final_read import event_ids, snapshot
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    import psycopg

# A number without leading zeros, as long as it can be: 'evt_007' is 'evt_00' and 7, so that no two ids fall together.
_NUMBERED = re.compile(r"(?s)(.*?)(0|[1-9][0-9]{0,17})\Z")


@dataclass(frozen=True)
class IdRun:
    """The ids `prefix` + number, for each number from `first` to `last`. Without numbers: the one id `prefix`."""

    prefix: str
    first: int | None
    last: int | None


def record_baseline(ledger: Path, conn: "psycopg.Connection") -> int:
    """Keep the ids of all events that the database holds, before the first webhook. Returns how many.

    `conn` must be outside a transaction and see all rows. Replaces an earlier baseline. Raises ToolkitError when the
    senders have begun already: what they sent must not be taken for what was there before.
    """
    with snapshot(conn):
        runs = list(id_runs(event_ids(conn)))
    total = sum(run.last - run.first + 1 if run.first is not None and run.last is not None else 1 for run in runs)
    with telling(ledger), contextlib.closing(open_for_writing(ledger)) as db, transaction(db):
        if db.execute("SELECT EXISTS (SELECT 1 FROM events)").fetchone()[0]:
            raise ToolkitError(
                "The baseline cannot be recorded any more",
                state="the senders have sent webhooks already",
                next="record it before they start",
            )
        _replace(db, runs, total)
    return total


def _replace(db: sqlite3.Connection, runs: Iterable[IdRun], total: int) -> None:
    db.execute("DELETE FROM baseline")
    db.execute("DELETE FROM baseline_ids")
    db.execute("INSERT INTO baseline (only, recorded_at, events) VALUES (1, ?, ?)", (micros(utc_now()), total))
    db.executemany(
        "INSERT INTO baseline_ids (prefix, first, last) VALUES (?, ?, ?)",
        ((run.prefix, run.first, run.last) for run in runs),
    )


def id_runs(ids: Iterable[str]) -> Iterator[IdRun]:
    """The same ids as runs. An id that is there twice counts once."""
    numbered: dict[str, list[int]] = defaultdict(list)
    plain: set[str] = set()
    for one in ids:
        if found := _NUMBERED.match(one):
            numbered[found[1]].append(int(found[2]))
        else:
            plain.add(one)
    yield from (IdRun(one, None, None) for one in sorted(plain))
    for prefix, numbers in sorted(numbered.items()):
        numbers.sort()
        first = last = numbers[0]
        for number in numbers:
            if number > last + 1:
                yield IdRun(prefix, first, last)
                first = number
            last = number
        yield IdRun(prefix, first, last)


class Baseline:
    """The recorded ids, to be ticked off one by one."""

    def __init__(self, runs: Iterable[IdRun]) -> None:
        self._plain: dict[str, int] = {}
        self._runs: dict[str, tuple[list[int], list[bytearray]]] = defaultdict(lambda: ([], []))
        for run in sorted(runs, key=lambda run: run.first or 0):
            if run.first is None or run.last is None:
                self._plain[run.prefix] = 0
            else:
                firsts, seen = self._runs[run.prefix]
                firsts.append(run.first)
                seen.append(bytearray(run.last - run.first + 1))

    @classmethod
    def read(cls, db: sqlite3.Connection) -> "Baseline":
        """From a ledger. Raises ToolkitError when no baseline was recorded: nothing can be called unexpected then."""
        if not db.execute("SELECT EXISTS (SELECT 1 FROM baseline)").fetchone()[0]:
            raise ToolkitError("No baseline was recorded before the traffic", next="record one, then start the senders")
        return cls(IdRun(*row) for row in db.execute("SELECT prefix, first, last FROM baseline_ids"))

    def tick(self, one: str) -> bool:
        """Note that an id is there now. False when it was not there before."""
        if one in self._plain:
            self._plain[one] += 1
            return True
        found = _NUMBERED.match(one)
        if not found or found[1] not in self._runs:
            return False
        firsts, seen = self._runs[found[1]]
        number = int(found[2])
        place = bisect_right(firsts, number) - 1
        if place < 0 or number - firsts[place] >= len(seen[place]):
            return False
        offset = number - firsts[place]
        seen[place][offset] = min(seen[place][offset] + 1, 255)
        return True

    def missing(self) -> Iterator[str]:
        """The ids that were never ticked."""
        return self._ticked(lambda count: count == 0)

    def repeated(self) -> Iterator[str]:
        """The ids that were ticked more than once."""
        return self._ticked(lambda count: count > 1)

    def _ticked(self, wanted: Callable[[int], bool]) -> Iterator[str]:
        yield from (one for one, count in self._plain.items() if wanted(count))
        for prefix, (firsts, seen) in self._runs.items():
            for first, counts in zip(firsts, seen, strict=True):
                yield from (f"{prefix}{first + offset}" for offset, count in enumerate(counts) if wanted(count))

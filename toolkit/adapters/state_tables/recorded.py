"""What a migration tool's state table says, in one form for all tools.

Data only. How a tool's table is read is a reader's; what it means for a folder of files is told in `rollback`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from toolkit.adapters.postgres import Connection


@dataclass(frozen=True)
class Holder:
    """Who holds a tool's lock. `pid` None: a row in a lock table says so, which outlives whoever wrote it.

    `since` (UTC) is when its transaction or else its session began; None where the server does not tell us.
    """

    pid: int | None
    who: str
    since: datetime | None
    lock: str

    def __str__(self) -> str:
        named = self.who or "a session without a name"
        who = named if self.pid is None else f"{named} (pid {self.pid})"
        since = "" if self.since is None else f" since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"{who}{since}, by {self.lock}"


@dataclass(frozen=True)
class Recorded:
    """What a state table holds. `version` None: no migration is applied. `dirty`: one may be half done.

    `version` is the number that the tool gives to the latest, or where it gives none how many are applied. `applied`
    are the tool's own words for each version that it lists, in its order; `up_to` the one up to which all counts as
    applied without being listed. `failed` names what is half done. `checksums` and `scripts` are what the tool keeps of
    each, by label. `places`: the version is a count. `unnumbered`: what is applied has neither number nor place.
    """

    version: int | None
    dirty: bool
    applied: tuple[str, ...] = field(default=(), compare=False)
    up_to: str | None = field(default=None, compare=False)
    failed: tuple[str, ...] = field(default=(), compare=False)
    checksums: Mapping[str, str] = field(default_factory=dict, compare=False)
    scripts: Mapping[str, str] = field(default_factory=dict, compare=False)
    locked_by: tuple[Holder, ...] = field(default=(), compare=False)
    problems: tuple[str, ...] = field(default=(), compare=False)
    places: bool = field(default=False, compare=False)

    @property
    def label(self) -> str | None:
        """The latest, as the tool writes it."""
        return self.applied[-1] if self.applied else self.up_to

    @property
    def unnumbered(self) -> bool:
        return self.version is None and self.label is not None

    def __str__(self) -> str:
        version = "no migration" if self.version is None else f"version {self.version}"
        if self.unnumbered:
            version = f"version {self.label}"
        elif self.places and self.label:
            version += f" ({self.label})"
        return f"{version}, {'dirty' if self.dirty else 'clean'}"


class Reader(ABC):
    """How one tool's table is read. Methods run in the caller's transaction, and change nothing."""

    @abstractmethod
    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        """What it says now. Raises RollbackError for what the tool itself never writes."""

    def lock_keys(self, database: str, schema: str, table: str) -> Sequence[int]:
        """The advisory locks that the tool takes while it works on this table. Empty: it takes none."""
        return ()


@dataclass(frozen=True)
class Found:
    """A state table on the live database. `account` reads it; None: its tool is recognised, and not read."""

    tool: str
    schema: str
    table: str
    account: Reader | None

    def __str__(self) -> str:
        return f"{self.schema}.{self.table} ({self.tool})"


def number_of(label: str) -> int | None:
    """The number that a label is, or begins with before an underscore or dash; None without one."""
    match = re.match(r"([0-9]+)(?=[_-]|$)", label)
    return int(match[1]) if match else None


def same_version(one: tuple[int | None, str | None], other: tuple[int | None, str | None]) -> bool:
    """Whether two versions, each with the tool's own word for it, are the same. Where a number is only a place among
    others, which moves when a file is put in between, the words count."""
    places = any(label and number_of(label) != version for version, label in (one, other))
    if places and one[1] and other[1]:
        return _plain(one[1]) == _plain(other[1])
    return one[0] == other[0]


def _plain(label: str) -> str:
    """Flyway takes 1.0 for 1."""
    return re.sub(r"(\.0+)+$", "", label) if re.fullmatch(r"[0-9.]+", label) else label


def listed(applied: Sequence[str], *, failed: Sequence[str] = (), **more: object) -> Recorded:
    """An account that lists what is applied, in the tool's order: the version is the last number, or their count."""
    numbers = [number_of(label) for label in applied]
    known = [number for number in numbers if number is not None]
    rising = len(known) == len(applied) and all(a < b for a, b in pairwise(known))
    version = None if not applied else known[-1] if rising else len(applied)
    places = bool(applied) and not rising
    return Recorded(version, bool(failed), tuple(applied), failed=tuple(failed), places=places, **more)  # type: ignore[arg-type]

"""What an assessment found, in the form that it reasons about. Data only; None means that it could not be seen."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

_UNDEFINED = re.compile(r'"([^"]+)"|column (?:\w+\.)+(\w+) does not exist')


@dataclass(frozen=True)
class Failure:
    """Requests that failed alike: how many, where, and what the database said. No rows, no values.

    `deployment`: which one answered them; None where that was not kept."""

    count: int
    status: int | None
    path: str
    sqlstate: str | None = None
    constraint: str | None = None
    relation: str | None = None
    column: str | None = None
    message: str | None = None
    deployment: str | None = None

    @property
    def objects(self) -> tuple[str, ...]:
        """The database objects that the error names, the most specific first.

        Of an object that is not there (class 42) only the message tells the name: in quotation marks, or a column's
        after its table's.
        """
        told = tuple(name for name in (self.constraint, self.column, self.relation) if name)
        undefined = (self.sqlstate or "").startswith("42") and not told
        return tuple(quoted or bare for quoted, bare in _UNDEFINED.findall(self.message or "")) if undefined else told

    def __str__(self) -> str:
        said = f": {self.message}" if self.message else ""
        return f"{self.count} × {self.status or 'no answer'} {self.path}{said}"


@dataclass(frozen=True)
class AppliedMigration:
    """A migration that is live, with the SQL of its up file.

    `down_problem`: why it cannot go down by its file; None when it can. `rewrites`: tables whose rows it changes or
    removes, as they are named there. `takes`: what its down removes that holds data, in words; None where the text does
    not tell. `destroys`: what it removes itself that held data, in words: no down brings that back.
    """

    version: int
    name: str
    sql: str
    down_problem: str | None = None
    rewrites: tuple[str, ...] = ()
    takes: tuple[str, ...] | None = ()
    destroys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """A deployment, as far as the reasoning needs it. `schema_version` is None where nobody recorded it.

    `created_at`: when it was built (UTC); it went live then or later."""

    id: str
    schema_version: int | None
    created_at: datetime | None = None


@dataclass(frozen=True)
class Facts:
    """What was found. None means that it could not be seen."""

    database_up: bool | None
    dirty: bool | None
    version: int | None
    stable_version: int | None
    stable_deployment: str | None
    production: Release | None
    migrations: Sequence[AppliedMigration]
    errors: Sequence[Failure]
    error_rate: float | None
    shifted: Mapping[str, float] = field(default_factory=dict)  # watched columns by the share of values that changed
    gone: Sequence[str] = ()  # watched columns that were there when all was verified, and are not any more
    onset: datetime | None = None  # when it was first seen, UTC; it began then or before
    migrated_at: datetime | None = None  # when the newest migration was applied, where somebody keeps that
    blocked: int | None = None  # sessions that wait for another's lock, the longest for `blocked_s` seconds
    blocked_s: float = 0.0
    in_the_way: Sequence[str] = ()  # the sessions that hold those locks, in words
    service_up: bool | None = None  # whether any health endpoint answered at all
    platform_up: bool | None = None
    signals: Mapping[str, str] = field(
        default_factory=dict
    )  # what the monitor has raised and not cleared: its evidence
    events_in: tuple[int, int] | None = None  # the requests that brought events just now, and how many got a 2xx
    breach: str = ""  # the reason for which the incident was opened, where that tells of a breach

"""What the target itself keeps of a restore: `toolkit.restored` (is it whole beside?) and `toolkit.swap` (is it in?).

A row is written in the transaction that makes it true, or in the last one of what cannot be one transaction. So a step
that is looked at after a crash reads the truth. Rows hold names, digests and counts; never a value of the service.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, cast

from toolkit.adapters.postgres import Connection
from toolkit.rollback.plan import Way

RestoredState = Literal["begun", "whole"]
SwapState = Literal["begun", "done", "undone"]

_PREPARED_TOGETHER = 7_021_001  # the advisory lock under which the toolkit's tables are made
_TABLES = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.restored (
    mark     text PRIMARY KEY,
    source   text NOT NULL,
    sha256   text NOT NULL,
    way      text NOT NULL,
    state    text NOT NULL,
    schemas  text[] NOT NULL,
    evidence text NOT NULL DEFAULT '',
    at       timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS toolkit.swap (
    mark    text PRIMARY KEY,
    source  text NOT NULL,
    way     text NOT NULL,
    state   text NOT NULL,
    schemas text[] NOT NULL,
    counts  jsonb NOT NULL DEFAULT '{}',
    told    jsonb NOT NULL DEFAULT '{}',
    xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at      timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True)
class Restored:
    """A copy beside production. 'begun' may be any part of one; `evidence` says how a whole one was verified."""

    mark: str
    source: str
    sha256: str
    way: Way
    state: RestoredState
    schemas: tuple[str, ...]
    evidence: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class Swapped:
    """A copy that was put in the live one's place. `counts`: rows by table right after a
    swap of schemas; `told`: what the merge did.

    `xid` is the transaction that did it: whatever is newer was written since.
    """

    mark: str
    source: str
    way: Way
    state: SwapState
    schemas: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, object] = field(default_factory=dict)
    xid: int = 0
    at: datetime | None = None


def prepare(conn: Connection) -> None:
    """Make the two tables where they are missing. Safe to repeat, and for two at once."""
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": _PREPARED_TOGETHER})
        conn.execute(_TABLES)


def read_restored(conn: Connection, mark: str) -> Restored | None:
    """What is kept of a copy; None where nothing is."""
    if not _there(conn, "restored"):
        return None
    row = conn.execute(
        """
        SELECT mark, source, sha256, way, state, schemas, evidence, at
        FROM toolkit.restored
        WHERE mark = %(mark)s
        """,
        {"mark": mark},
    ).fetchone()
    return None if row is None else Restored(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), row[6], row[7])


def keep_restored(conn: Connection, restored: Restored) -> None:
    """Keep it, instead of what was kept under its mark."""
    conn.execute(
        """
        INSERT INTO toolkit.restored (mark, source, sha256, way, state, schemas, evidence)
        VALUES (%(mark)s, %(source)s, %(sha256)s, %(way)s, %(state)s, %(schemas)s, %(evidence)s)
        ON CONFLICT (mark) DO UPDATE
        SET source = excluded.source, sha256 = excluded.sha256, way = excluded.way, state = excluded.state,
            schemas = excluded.schemas, evidence = excluded.evidence, at = now()
        """,
        {
            "mark": restored.mark,
            "source": restored.source,
            "sha256": restored.sha256,
            "way": restored.way,
            "state": restored.state,
            "schemas": list(restored.schemas),
            "evidence": restored.evidence,
        },
    )


def read_swap(conn: Connection, mark: str) -> Swapped | None:
    """What is kept of a swap; None where nothing is."""
    return next((each for each in read_swaps(conn) if each.mark == mark), None)


def read_swaps(conn: Connection) -> list[Swapped]:
    """All that are kept, the oldest first."""
    if not _there(conn, "swap"):
        return []
    rows = conn.execute(
        """
        SELECT mark, source, way, state, schemas, counts, told, xid::text::bigint, at
        FROM toolkit.swap
        ORDER BY at, mark
        """
    ).fetchall()
    return [Swapped(row[0], row[1], row[2], row[3], tuple(row[4]), row[5], row[6], row[7], row[8]) for row in rows]


def keep_swap(conn: Connection, swapped: Swapped) -> None:
    """Keep it, with this transaction's number, instead of what was kept under its mark."""
    conn.execute(
        """
        INSERT INTO toolkit.swap (mark, source, way, state, schemas, counts, told)
        VALUES (%(mark)s, %(source)s, %(way)s, %(state)s, %(schemas)s, %(counts)s::jsonb, %(told)s::jsonb)
        ON CONFLICT (mark) DO UPDATE
        SET source = excluded.source, way = excluded.way, state = excluded.state, schemas = excluded.schemas,
            counts = excluded.counts, told = excluded.told, xid = pg_current_xact_id(), at = now()
        """,
        {
            "mark": swapped.mark,
            "source": swapped.source,
            "way": swapped.way,
            "state": swapped.state,
            "schemas": list(swapped.schemas),
            "counts": json.dumps(dict(swapped.counts)),
            "told": json.dumps(dict(swapped.told), default=str),
        },
    )


def forget(conn: Connection, mark: str) -> None:
    """Forget the copy of that mark. The swap stays on record."""
    if _there(conn, "restored"):
        conn.execute("DELETE FROM toolkit.restored WHERE mark = %(mark)s", {"mark": mark})


def _there(conn: Connection, table: str) -> bool:
    found = conn.execute("SELECT to_regclass('toolkit.' || %(table)s) IS NOT NULL", {"table": table}).fetchone()
    return cast(tuple[bool], found)[0]

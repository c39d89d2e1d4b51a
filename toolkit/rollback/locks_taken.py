"""The locks that a transaction of ours holds on tables and indexes, so that what was predicted can be compared."""

import time
from dataclasses import dataclass
from typing import Any

from toolkit.adapters.postgres import Connection

_STRENGTH = (
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)


@dataclass(frozen=True, order=True)
class LockTaken:
    """The strongest lock on a relation. Relations that this transaction has dropped have no name any more."""

    relation: str
    mode: str

    def to_json(self) -> dict[str, str]:
        return {"relation": self.relation, "mode": self.mode}


def locks_taken(conn: Connection) -> list[LockTaken]:
    """What this session holds now that stands in somebody's way; catalogs, copies and the toolkit's own left out."""
    rows = conn.execute(
        """
        SELECT CASE WHEN c.oid IS NULL THEN 'dropped' ELSE format('%%s.%%s', n.nspname, c.relname) END, l.mode
        FROM pg_locks l
        LEFT JOIN pg_class c ON c.oid = l.relation
        LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE l.pid = pg_backend_pid() AND l.granted AND l.locktype = 'relation' AND l.mode = ANY (%(modes)s)
          AND l.relation >= 16384
          AND (n.nspname IS NULL OR n.nspname NOT IN ('toolkit', 'pg_toast') AND n.nspname NOT LIKE 'salvage\\_%%')
        """,
        {"modes": list(_STRENGTH)},
    ).fetchall()
    strongest: dict[str, str] = {}
    for relation, mode in rows:
        known = strongest.get(relation)
        if known is None or _STRENGTH.index(mode) > _STRENGTH.index(known):
            strongest[relation] = mode
    return sorted(LockTaken(relation, mode) for relation, mode in strongest.items())


def locks_told(conn: Connection, began: float) -> dict[str, Any]:
    """What the journal keeps of them, before the commit: each lock, and for how many seconds they are held by now at
    the longest. `began` is a reading of the monotonic clock from before the first."""
    held_s = round(time.monotonic() - began, 3)
    return {"locks": [each.to_json() for each in locks_taken(conn)], "held_s": held_s}

"""What a restore's merge could not decide, as the target's `toolkit.conflict` keeps it row by row until it is settled.

Names and keys, never a value. The merge writes it; a verification, a status and a person read it. What is not settled
is never passed: a row that a constraint refused is acknowledged data that is not there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.adapters.postgres import Connection
from toolkit.checks import Finding, failed, passed, unknown

UNDECIDED = "no conflict of a restore is undecided"
REFUSED = "refused: "  # the constraint of that name did not take a row that was acknowledged
HOW = "see them by `toolkit restore conflicts`, and settle them there"
TOLD = 10


@dataclass(frozen=True)
class Conflict:
    """One of them. `column` is '' for a whole row, `mark` that of the restore."""

    table: str
    key: Mapping[str, Any]
    column: str
    reason: str
    mark: str = ""


def undecided(conn: Connection, mark: str | None = None, at_most: int = 1000) -> list[Conflict]:
    """Those that nobody has settled, of one restore or of all, by table and key; [] where there are none."""
    if not _there(conn):
        return []
    rows = conn.execute(
        """
        SELECT table_name, key, column_name, reason, mark
        FROM toolkit.conflict
        WHERE settled IS NULL AND (%(mark)s::text IS NULL OR mark = %(mark)s)
        ORDER BY mark, table_name, key, column_name
        LIMIT %(most)s
        """,
        {"mark": mark, "most": at_most},
    ).fetchall()
    return [Conflict(*row) for row in rows]


def count_undecided(conn: Connection) -> Counter[tuple[str, str]]:
    """How many there are of each table and reason."""
    if not _there(conn):
        return Counter()
    rows = conn.execute(
        """
        SELECT table_name, reason, count(*)
        FROM toolkit.conflict
        WHERE settled IS NULL
        GROUP BY 1, 2
        ORDER BY 1, 2
        """
    ).fetchall()
    return Counter({(str(table), str(reason)): int(count) for table, reason, count in rows})


def settle(conn: Connection, mark: str, why: str, *, table: str | None = None, but: str | None = None) -> int:
    """Say of a restore's conflicts, of one table or of all, that somebody has looked at them, and what came of it; how
    many. `but`: reasons that begin so are left."""
    if not _there(conn):
        return 0
    return conn.execute(
        """
        UPDATE toolkit.conflict
        SET settled = %(why)s, settled_at = now()
        WHERE mark = %(mark)s AND settled IS NULL AND (%(table)s::text IS NULL OR table_name = %(table)s)
          AND (%(but)s::text IS NULL OR NOT starts_with(reason, %(but)s))
        """,
        {"mark": mark, "why": why, "table": table, "but": but},
    ).rowcount


def judge_conflicts(conn: Connection) -> Finding:
    """Passed where none is undecided, failed where an acknowledged row was refused, otherwise unknown."""
    found = count_undecided(conn)
    if not found:
        return passed("none")
    said = f"{sum(found.values())} are: {said_of(found)}; {HOW}"
    return failed(said) if any(reason.startswith(REFUSED) for _, reason in found) else unknown(said)


def said_of(found: Counter[tuple[str, str]]) -> str:
    """`public.events: 3 older`, for each table and reason."""
    return _listed(f"{table}: {count} {reason}" for (table, reason), count in found.items())


def _listed(lines: Iterable[str]) -> str:
    said = list(lines)
    more = f"; and {len(said) - TOLD} more" if len(said) > TOLD else ""
    return "; ".join(said[:TOLD]) + more


def _there(conn: Connection) -> bool:
    return conn.execute("SELECT to_regclass('toolkit.conflict') IS NOT NULL").fetchone() == (True,)

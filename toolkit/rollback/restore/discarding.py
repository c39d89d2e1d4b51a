"""What a restore left behind: the damaged data, and copies that never came in. Listed; removed when somebody says so.

Nothing here is removed by itself: the damaged data may hold what nobody has missed yet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database
from toolkit.errors import UsageError
from toolkit.rollback.restore.catalog import drop_schemas, schemas_named
from toolkit.rollback.restore.names import DAMAGED, RESTORED, damaged_name, restored_name
from toolkit.rollback.restore.other_database import drop_database
from toolkit.rollback.restore.records import Swapped, forget, read_swaps


@dataclass(frozen=True)
class Leftover:
    """Schemas or a database of one mark. `bytes` on the disk; `swapped` None: it never came in, or nothing is known."""

    mark: str
    kind: str
    names: tuple[str, ...]
    bytes: int
    swapped: Swapped | None

    def row(self) -> dict[str, str]:
        """For a table."""
        since = self.swapped and self.swapped.at
        return {
            "mark": self.mark,
            "what": self.kind,
            "names": ", ".join(self.names),
            "size": f"{self.bytes / 1e6:,.1f} MB",
            "since": f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "",
        }


def leftovers(database: Database) -> list[Leftover]:
    """All that stands there, damaged data and copies beside.

    A damaged database that no swap recorded here is another service's on the same server, and is left out.
    """
    with database.reading() as conn:
        swaps = {each.mark: each for each in read_swaps(conn)}
        schemas = _schemas(conn)
        databases = _databases(conn)
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    ours = [(name, size) for name, size in databases if not name.startswith(DAMAGED) or name.split("_")[1] in swaps]
    for name, size in [*schemas, *ours]:
        what, mark = name.split("_")[:2]
        found.setdefault((mark, what), []).append((name, size))
    return [
        Leftover(mark, what, tuple(name for name, _ in each), sum(size for _, size in each), swaps.get(mark))
        for (mark, what), each in sorted(found.items())
    ]


def discard(database: Database, mark: str, *, guard: Callable[[Connection], None] = lambda _: None) -> list[str]:
    """Remove the damaged data of a mark, and a copy of it that is still beside; what was removed.

    UsageError when there is nothing of that mark.
    """
    there = require_kept(leftovers(database), mark)
    removed: list[str] = []
    for name in (damaged_name(mark), restored_name(mark)):
        removed += drop_schemas(database, name, guard=guard)
    for each in there:
        for name in each.names:
            if name not in removed and name in (damaged_name(mark), restored_name(mark)):
                drop_database(database, name)
                removed.append(name)
    with database.writing() as conn:
        guard(conn)
        forget(conn, mark)
    return removed


def require_kept(found: Sequence[Leftover], mark: str) -> list[Leftover]:
    """What is kept under a mark. UsageError when there is nothing."""
    there = [each for each in found if each.mark == mark]
    if not there:
        raise UsageError(f"Nothing is kept under {mark!r}", next="list what there is first: toolkit restore leftovers")
    return there


def _schemas(conn: Connection) -> list[tuple[str, int]]:
    names = [name for what in (DAMAGED, RESTORED) for name in schemas_named(conn, what)]
    rows = conn.execute(
        """
        SELECT nspname,
               coalesce(sum(pg_total_relation_size(pg_class.oid)) FILTER (WHERE relkind IN ('r', 'm')), 0)::bigint
        FROM pg_namespace
        LEFT JOIN pg_class ON relnamespace = pg_namespace.oid
        WHERE nspname = ANY (%(names)s)
        GROUP BY 1
        ORDER BY 1
        """,
        {"names": names},
    ).fetchall()
    return [(row[0], row[1]) for row in rows if row[0].count("_") >= 1]


def _databases(conn: Connection) -> list[tuple[str, int]]:
    rows = conn.execute(
        """
        SELECT datname, CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END
        FROM pg_database
        WHERE datname ~ '^(restored|damaged)_[0-9a-f]{8}$'
        ORDER BY 1
        """
    ).fetchall()
    return [(row[0], row[1]) for row in rows]

"""What salvaging will cost, told before anything is done: rows, bytes and seconds, from the planner's statistics alone.

Read-only and bounded: it counts nothing. Tables that were never analysed are taken by their size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database
from toolkit.rollback.migrations import Script
from toolkit.rollback.salvage.find import Spec, specs_of
from toolkit.rollback.salvage.shapes import Picture, Shape, picture

ROWS_PER_S = 800_000  # measured: key and jsonb of 2 million rows in 2.5 s
BYTES_PER_S = 150_000_000
ROW_OVERHEAD = 28  # bytes of a stored row beside its values
UNKNOWN_WIDTH = 32


@dataclass(frozen=True)
class Estimate:
    """One copy: of what, about how many rows and bytes at most, and seconds under the down's lock."""

    what: str
    rows: int
    bytes: int
    seconds: float

    def __str__(self) -> str:
        size = f"{self.bytes / 1e6:,.0f} MB" if self.bytes >= 1e6 else f"{self.bytes / 1e3:,.0f} kB"
        return f"{self.what}: about {self.rows:,} rows, {size}, {self.seconds:.1f} s"


def estimate(database: Database, scripts: Sequence[Script]) -> list[Estimate]:
    """What salvaging before these downs would copy, as far as their text and the catalog tell. Raises DatabaseError,
    SqlError."""
    found = []
    with database.reading() as conn:
        before = picture(conn)
        for script in scripts:
            text = script.content.decode()
            specs = {spec: None for each in script.statements for spec in specs_of(conn, each, text, before)}
            found += [_estimated(conn, spec, before) for spec in specs]
    return found


def _estimated(conn: Connection, spec: Spec, before: Picture) -> Estimate:
    shape = before.shapes[spec.oid]
    rows = _rows(conn, before, shape)
    key = shape.keys[0] if shape.keys else tuple(shape.stored)
    numbers = {*key, *(spec.columns or shape.stored)}
    size = rows * (ROW_OVERHEAD + _width(conn, shape, numbers))
    columns = ", ".join(shape.columns[n].name for n in spec.columns)
    what = f"columns {columns} of {shape}" if columns else f"rows of {shape}"
    return Estimate(what, rows, size, max(rows / ROWS_PER_S, size / BYTES_PER_S))


def _rows(conn: Connection, before: Picture, shape: Shape) -> int:
    """The planner's own estimate, or the size by a guess where it has none."""
    parts = [shape.oid] if shape.kind == "r" else [each.oid for each in before.parts(shape.oid)]
    row = conn.execute(
        """
        SELECT coalesce(sum(CASE WHEN reltuples >= 0 THEN reltuples ELSE pg_relation_size(oid) / 100 END), 0)::bigint
        FROM pg_class
        WHERE oid = ANY (%(parts)s)
        """,
        {"parts": parts},
    ).fetchone()
    assert row is not None
    return int(row[0])


def _width(conn: Connection, shape: Shape, numbers: set[int]) -> int:
    """Bytes of these columns in a row, on average."""
    names = [shape.columns[n].name for n in numbers]
    rows = conn.execute(
        """
        SELECT attname::text, max(avg_width)
        FROM pg_stats
        WHERE schemaname = %(schema)s AND tablename = %(table)s AND attname = ANY (%(names)s)
        GROUP BY attname
        """,
        {"schema": shape.schema, "table": shape.name, "names": names},
    ).fetchall()
    known = {name: int(width) for name, width in rows}
    return sum(known.get(name, UNKNOWN_WIDTH) for name in names)

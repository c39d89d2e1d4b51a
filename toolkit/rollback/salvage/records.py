"""The list of what was salvaged, on the target itself: `toolkit.salvage`, a row for each copy, and how it goes back.

It owns that table and the name of an incident's schema of copies. It holds names and SQL, never data.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.rollback.salvage.shapes import SALVAGE_PREFIX

PREPARING = 7_021_001  # the advisory lock under which the toolkit's own tables are made
LONGEST_NAME = 63

_TABLE = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.salvage (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident    text NOT NULL,
    version     bigint NOT NULL,
    kind        text NOT NULL,
    of_schema   text NOT NULL,
    of_table    text NOT NULL,
    columns     text[] NOT NULL,
    key         text[] NOT NULL,
    rows        bigint NOT NULL DEFAULT 0,
    kept_schema text NOT NULL DEFAULT '',
    kept_table  text NOT NULL DEFAULT '',
    put_back    text NOT NULL DEFAULT '',
    note        text NOT NULL DEFAULT '',
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    put_back_at timestamptz
);
"""


@dataclass(frozen=True)
class Salvaged:
    """One copy, made before migration `version` was taken back. `columns` are those whose values would be lost, [] for
    whole rows; `key` tells the rows apart, [] where the table has no key. `put_back` is SQL, '' where it cannot be put
    back by itself (`note` says why). `kind` is 'rows', 'columns', 'both' or 'sequence'."""

    id: int
    incident: str
    version: int
    kind: str
    schema: str
    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: int
    kept_schema: str
    kept_table: str
    put_back: str
    note: str
    at: datetime | None = None
    put_back_at: datetime | None = None

    def __str__(self) -> str:
        of = self.table if self.schema == "public" else f"{self.schema}.{self.table}"
        what = f"columns {', '.join(self.columns)} of {of}" if self.columns else f"rows of {of}"
        if self.kind == "sequence":
            return f"where the sequence {of} stood"
        return f"{self.rows:,} × {what} in {self.kept_schema}.{self.kept_table}"


def salvage_schema(incident: str) -> str:
    """`salvage_` and the incident's mark: a valid identifier of 63 bytes at most, one for each incident."""
    mark = re.sub(r"[^a-z0-9]+", "_", incident.lower()).strip("_")
    room = LONGEST_NAME - len(SALVAGE_PREFIX)
    if mark != incident or not mark or len(mark) > room:
        digest = hashlib.sha256(incident.encode()).hexdigest()[:8]
        mark = f"{mark[: room - 9]}_{digest}".lstrip("_")
    return SALVAGE_PREFIX + mark


def prepare(conn: Connection) -> None:
    """Make the table where it is missing. Safe to repeat, and beside others who do the same."""
    if conn.execute("SELECT to_regclass('toolkit.salvage')").fetchone() != (None,):
        return
    conn.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": PREPARING})
    conn.execute(_TABLE)


def begin_record(conn: Connection, incident: str, version: int, kind: str, table: tuple[str, str]) -> int:
    """Open a row, and so get the number that names the copy."""
    row = conn.execute(
        """
        INSERT INTO toolkit.salvage (incident, version, kind, of_schema, of_table, columns, key)
        VALUES (%(incident)s, %(version)s, %(kind)s, %(schema)s, %(table)s, '{}', '{}')
        RETURNING id
        """,
        {"incident": incident, "version": version, "kind": kind, "schema": table[0], "table": table[1]},
    ).fetchone()
    assert row is not None
    return int(row[0])


def finish_record(conn: Connection, salvaged: Salvaged) -> None:
    """Fill that row in."""
    conn.execute(
        """
        UPDATE toolkit.salvage
        SET kind = %(kind)s, columns = %(columns)s, key = %(key)s, rows = %(rows)s, kept_schema = %(kept_schema)s,
            kept_table = %(kept_table)s, put_back = %(put_back)s, note = %(note)s
        WHERE id = %(id)s
        """,
        {
            "id": salvaged.id,
            "kind": salvaged.kind,
            "columns": list(salvaged.columns),
            "key": list(salvaged.key),
            "rows": salvaged.rows,
            "kept_schema": salvaged.kept_schema,
            "kept_table": salvaged.kept_table,
            "put_back": salvaged.put_back,
            "note": salvaged.note,
        },
    )


def forget_record(conn: Connection, number: int) -> None:
    """Nothing was there to copy."""
    conn.execute("DELETE FROM toolkit.salvage WHERE id = %(id)s", {"id": number})


def mark_put_back(conn: Connection, numbers: Sequence[int]) -> None:
    conn.execute(
        "UPDATE toolkit.salvage SET put_back_at = clock_timestamp() WHERE id = ANY (%(ids)s)", {"ids": list(numbers)}
    )


def salvaged_in(conn: Connection, incident: str | None = None) -> list[Salvaged]:
    """What was salvaged, of one incident or of all, in the order in which it was copied; [] when nothing was."""
    if conn.execute("SELECT to_regclass('toolkit.salvage')").fetchone() == (None,):
        return []
    query = sql.SQL(
        """
        SELECT id, incident, version, kind, of_schema, of_table, columns, key, rows, kept_schema, kept_table,
               put_back, note, at, put_back_at
        FROM toolkit.salvage
        WHERE %(incident)s::text IS NULL OR incident = %(incident)s
        ORDER BY id
        """
    )
    rows = conn.execute(query, {"incident": incident}).fetchall()
    return [_salvaged(*row) for row in rows]


def _salvaged(*row: Any) -> Salvaged:
    plain: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
    return Salvaged(*plain)


def list_salvaged(database: Database, incident: str | None = None) -> list[Salvaged]:
    """The same, by a connection of its own. Raises DatabaseError."""
    with database.reading() as conn:
        return salvaged_in(conn, incident)

"""Tables, sequences and views as the catalog lists them: which there are, and how many rows they hold.

It reads in the caller's transaction and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql


@dataclass(frozen=True, order=True)
class Relation:
    """A table, sequence or view by its catalog name, unquoted. `kind` is pg_class.relkind."""

    schema: str
    name: str
    kind: str

    @property
    def stores_rows(self) -> bool:
        return self.kind == "r"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


def relations(conn: Connection, schemas: Sequence[str]) -> list[Relation]:
    """Tables, partitioned ones, sequences, views and materialized views of these schemas, extensions' own left out."""
    rows = conn.execute(
        """
        SELECT n.nspname, c.relname, c.relkind::text
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (%(schemas)s)
          AND c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f')
          AND NOT EXISTS (
              SELECT
              FROM pg_depend d
              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
          )
        ORDER BY n.nspname, c.relname
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [Relation(*row) for row in rows]


def existing_schemas(conn: Connection, schemas: Sequence[str]) -> list[str]:
    """Those of the schemas that exist, in the order given."""
    rows = conn.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname = ANY (%(schemas)s)", {"schemas": list(schemas)}
    )
    found = {row[0] for row in rows}
    return [schema for schema in schemas if schema in found]


def find_table(conn: Connection, name: Sequence[str], schemas: Sequence[str]) -> Relation | None:
    """A table or partitioned table by its name, with or without its schema; without, the first schema that has it."""
    wanted = [name[0]] if len(name) > 1 else list(schemas)
    row = conn.execute(
        """
        SELECT n.nspname, c.relname, c.relkind::text
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (%(schemas)s) AND c.relname = %(name)s AND c.relkind IN ('r', 'p')
        ORDER BY array_position(%(schemas)s::text[], n.nspname::text)
        LIMIT 1
        """,
        {"schemas": wanted, "name": name[-1]},
    ).fetchone()
    return Relation(*row) if row else None


def storing_parts(conn: Connection, table: Relation) -> tuple[Relation, ...]:
    """The tables that store a table's rows: itself, or the partitions at the ends of its tree."""
    if table.stores_rows:
        return (table,)
    rows = conn.execute(
        """
        SELECT n.nspname, c.relname, c.relkind::text
        FROM pg_partition_tree(format('%%I.%%I', %(schema)s::text, %(name)s::text)::regclass) AS part
        JOIN pg_class c ON c.oid = part.relid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE part.isleaf
        ORDER BY n.nspname, c.relname
        """,
        {"schema": table.schema, "name": table.name},
    ).fetchall()
    return tuple(Relation(*row) for row in rows)


def count_rows(conn: Connection, table: Relation) -> int:
    """All rows, whatever row-level security would show this role: the server refuses rather than filter."""
    conn.execute("SET LOCAL row_security = off")
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier)).fetchone()
    assert row is not None
    return int(row[0])

"""Publications follow to the restored tables: a publication names tables, and would go on naming the damaged ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql

_DROP, _ADD = sql.SQL("DROP"), sql.SQL("ADD")


@dataclass(frozen=True)
class Member:
    """A table of a publication, by name, with the number by which the catalog knows it."""

    publication: str
    schema: str
    table: str


def members_of(conn: Connection, schemas: Sequence[str]) -> list[Member]:
    """Tables of these schemas that are published by their names. Those of whole schemas need nothing."""
    rows = conn.execute(
        """
        SELECT pubname, nspname, relname
        FROM pg_publication
        JOIN pg_publication_rel ON prpubid = pg_publication.oid
        JOIN pg_class ON pg_class.oid = prrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY (%(schemas)s)
        ORDER BY 1, 2, 3
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [Member(*row) for row in rows]


def repoint(conn: Connection, members: Sequence[Member], live: Mapping[str, str]) -> None:
    """After the exchange: publish the tables that now have the names, and no longer those that were put aside.

    `live`: the name under which a schema was put aside → the application's name of it.
    """
    aside = {name: schema for schema, name in live.items()}
    for each in members:
        publication = sql.Identifier(each.publication)
        for verb, schema in ((_DROP, aside[each.schema]), (_ADD, each.schema)):
            if _exists(conn, schema, each.table):
                statement = sql.SQL("ALTER PUBLICATION {} {} TABLE {}")
                conn.execute(statement.format(publication, verb, sql.Identifier(schema, each.table)))


def _exists(conn: Connection, schema: str, table: str) -> bool:
    row = conn.execute(
        "SELECT to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text)) IS NOT NULL",
        {"schema": schema, "table": table},
    ).fetchone()
    return row == (True,)

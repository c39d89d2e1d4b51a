"""Publications follow to the restored tables: a publication names tables, and would go on naming the damaged ones.

What a publication hides stays hidden: a table comes back with its list of columns and its row filter, or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql

LISTS_SINCE = 150_000  # lists of columns, row filters, whole schemas

_MEMBERS = """
SELECT pubname, nspname, relname, NULL::text[], NULL::text, '{}'::text[]
FROM pg_publication
JOIN pg_publication_rel ON prpubid = pg_publication.oid
JOIN pg_class ON pg_class.oid = prrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = ANY (%(schemas)s)
ORDER BY 1, 2, 3
"""

_MEMBERS_WITH_LISTS = """
SELECT pubname, nspname, relname,
       (SELECT array_agg(attname::text ORDER BY place)
        FROM unnest(prattrs::int2[]) WITH ORDINALITY AS listed (number, place)
        JOIN pg_attribute ON attrelid = prrelid AND attnum = number),
       pg_get_expr(prqual, prrelid),
       (SELECT coalesce(array_agg(attname::text), '{}')
        FROM pg_depend
        JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
        WHERE classid = 'pg_publication_rel'::regclass AND objid = pg_publication_rel.oid
          AND refclassid = 'pg_class'::regclass AND refobjid = prrelid AND refobjsubid > 0)
FROM pg_publication
JOIN pg_publication_rel ON prpubid = pg_publication.oid
JOIN pg_class ON pg_class.oid = prrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = ANY (%(schemas)s)
ORDER BY 1, 2, 3
"""


@dataclass(frozen=True)
class Member:
    """A table of a publication, by name. `columns` None: all of them; `condition` None: every row; `named`: the columns
    that its list and its condition name."""

    publication: str
    schema: str
    table: str
    columns: tuple[str, ...] | None
    condition: str | None
    named: frozenset[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


def members_of(conn: Connection, schemas: Sequence[str]) -> list[Member]:
    """Tables of these schemas that are published by their names. Those of whole schemas need nothing: such a schema
    stays, and its tables move one by one."""
    query = _MEMBERS_WITH_LISTS if conn.info.server_version >= LISTS_SINCE else _MEMBERS
    conn.execute("SET LOCAL search_path = pg_catalog")  # so that a condition names whole what it names
    rows = conn.execute(query, {"schemas": list(schemas)}).fetchall()
    conn.execute("RESET search_path")
    return [
        Member(row[0], row[1], row[2], None if row[3] is None else tuple(row[3]), row[4], frozenset(row[5]))
        for row in rows
    ]


def repoint(conn: Connection, members: Sequence[Member], live: Mapping[str, str]) -> list[str]:
    """After the exchange: publish the tables that now have the names, and no longer those that were put aside.

    `live`: the name under which a schema was put aside → the application's name of it. Returns what is published no
    longer, a sentence each.
    """
    aside = {name: schema for schema, name in live.items()}
    told = []
    for each in members:
        if _columns(conn, aside[each.schema], each.table):
            drop = sql.SQL("ALTER PUBLICATION {} DROP TABLE {}")
            table = sql.Identifier(aside[each.schema], each.table)
            conn.execute(drop.format(sql.Identifier(each.publication), table))
        if why := _add(conn, each):
            told.append(f"publication {each.publication} does not publish {each} any longer: {why}")
    return told


def _add(conn: Connection, member: Member) -> str:
    """Publish the table again; why it was not, or ''."""
    there = _columns(conn, member.schema, member.table)
    if not there:
        return "it was not restored"
    lacking = sorted(member.named - there)
    if lacking and member.condition is not None:
        return f"its row filter or list names {', '.join(lacking)}, which the restored table has not"
    columns = None if member.columns is None else [name for name in member.columns if name in there]
    if columns == []:
        return "no column of its list is left"
    listed = sql.SQL("" if columns is None else " ({})").format(sql.SQL(", ").join(map(sql.Identifier, columns or ())))
    filtered = sql.SQL("" if member.condition is None else " WHERE ({})").format(sql.SQL(member.condition or ""))
    conn.execute(
        sql.SQL("ALTER PUBLICATION {} ADD TABLE {}{}{}").format(
            sql.Identifier(member.publication), sql.Identifier(member.schema, member.table), listed, filtered
        )
    )
    return ""


def _columns(conn: Connection, schema: str, table: str) -> set[str]:
    """Its columns; none where it is not there, or has none that could be published."""
    rows = conn.execute(
        """
        SELECT attname
        FROM pg_attribute
        WHERE attrelid = to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text))
          AND attnum > 0 AND NOT attisdropped
        """,
        {"schema": schema, "table": table},
    ).fetchall()
    return {row[0] for row in rows}

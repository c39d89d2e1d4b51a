"""Two schemas change places: the live one gets the damaged name, the restored one the live name. In the caller's
transaction, which must hold the tables' locks.

A schema is renamed where it is wholly ours. Where an extension's objects live in it, which only a superuser may move,
where the schema's owner is not us, or where a publication names the schema, which only a superuser may change, its
objects move one by one, and the schema itself, with its rights and default privileges, stays where it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.errors import RollbackError
from toolkit.rollback.relations import relations
from toolkit.rollback.restore.publications import LISTS_SINCE

# routines first, while the types in their arguments still have the names by which they are found;
# what moves by itself takes along what belongs to it: indexes, owned sequences, row types, constraints, triggers
_MOVABLE = """
WITH extended AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
SELECT 'ROUTINE', format('%%I(%%s)', proname, pg_get_function_identity_arguments(p.oid))
FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
WHERE nspname = %(schema)s AND prokind <> 'a'
  AND NOT EXISTS (
      SELECT FROM pg_depend
      WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype IN ('e', 'i'))
UNION ALL
SELECT 'TABLE', quote_ident(relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = %(schema)s AND relkind IN ('r', 'p', 'f')
  AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = c.oid)
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'SEQUENCE' END, quote_ident(relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = %(schema)s
  AND (relkind IN ('v', 'm')
       OR relkind = 'S' AND NOT EXISTS (
           SELECT FROM pg_depend
           WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i')
             AND refclassid = 'pg_class'::regclass))
  AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = c.oid)
UNION ALL
SELECT 'TYPE', quote_ident(typname) FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
WHERE nspname = %(schema)s
  AND (typtype IN ('e', 'd', 'r')
       OR typtype = 'c' AND EXISTS (SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind = 'c'))
  AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_type'::regclass AND objid = t.oid)
"""

# what a move one by one would leave behind
_IMMOVABLE = """
WITH extended AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
SELECT 'aggregate ' || proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
WHERE nspname = %(schema)s AND prokind = 'a'
  AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
UNION ALL
SELECT 'operator ' || oprname FROM pg_operator o JOIN pg_namespace n ON n.oid = oprnamespace
WHERE nspname = %(schema)s
  AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_operator'::regclass AND objid = o.oid)
UNION ALL
SELECT 'collation ' || collname FROM pg_collation c JOIN pg_namespace n ON n.oid = collnamespace
WHERE nspname = %(schema)s
  AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_collation'::regclass AND objid = c.oid)
UNION ALL
SELECT 'text search configuration ' || cfgname FROM pg_ts_config c JOIN pg_namespace n ON n.oid = cfgnamespace
WHERE nspname = %(schema)s
  AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_ts_config'::regclass AND objid = c.oid)
"""


@dataclass(frozen=True)
class Place:
    """A schema of the application, where its restored copy stands, and where the live one is put."""

    live: str
    restored: str
    damaged: str


def lock_all(conn: Connection, schemas: Sequence[str]) -> None:
    """ACCESS EXCLUSIVE on every table, and on every sequence, of these schemas. Waits as the session's limit says.

    Without it an open transaction could commit into the schema that was put aside.
    """
    there = relations(conn, schemas)
    if tables := [each.identifier for each in there if each.kind in ("r", "p")]:
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.SQL(", ").join(tables)))
    for schema in schemas:  # LOCK takes no sequences; an owner that stays the same changes nothing and locks them
        for name, owner in _sequences(conn, schema):
            statement = sql.SQL("ALTER SEQUENCE {} OWNER TO {}")
            conn.execute(statement.format(sql.Identifier(schema, name), sql.Identifier(owner)))


def exchange(conn: Connection, place: Place) -> None:
    """Put the live schema aside and the restored one in its place. RollbackError for what cannot be moved."""
    if _moves_whole(conn, place.live):
        _rename(conn, place.live, place.damaged)
        _rename(conn, place.restored, place.live)
        return
    _create_like(conn, place.damaged, place.live)
    _move_all(conn, place.live, place.damaged)
    _move_all(conn, place.restored, place.live)
    conn.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(place.restored)))


def exchange_back(conn: Connection, place: Place) -> None:
    """The inverse: the restored copy stands beside again, and what was put aside is live."""
    exchange(conn, Place(place.live, place.damaged, place.restored))


def set_aside(conn: Connection, schema: str, name: str) -> None:
    """Give a schema another name, extensions' objects in it left where they are."""
    if _moves_whole(conn, schema):
        _rename(conn, schema, name)
        return
    _create_like(conn, name, schema)
    _move_all(conn, schema, name)


def advance_sequences(conn: Connection, places: Sequence[Place]) -> int:
    """Set each live sequence to at least what the damaged one of the same name had; how many were advanced.

    Otherwise ids that were given out already would be given again, and `ON CONFLICT DO NOTHING` would hide it.
    """
    advanced = 0
    for place in places:
        there = {name for name, _ in _sequences(conn, place.damaged)}
        for name in (name for name, _ in _sequences(conn, place.live) if name in there):
            advanced += _advance(conn, sql.Identifier(place.live, name), sql.Identifier(place.damaged, name))
    return advanced


def _advance(conn: Connection, live: sql.Identifier, damaged: sql.Identifier) -> bool:
    query = sql.SQL("SELECT d.last_value, d.is_called, l.last_value, l.is_called FROM {} AS d, {} AS l")
    row = conn.execute(query.format(damaged, live)).fetchone()
    assert row is not None
    down = _counts_down(conn, live)
    was, now = (row[0], row[1]), (row[2], row[3])
    if (was[0] < now[0] if down else was[0] > now[0]) or (was[0] == now[0] and was[1] and not now[1]):
        conn.execute(
            "SELECT setval(%(name)s::regclass, %(value)s, %(called)s)",
            {"name": live.as_string(conn), "value": was[0], "called": was[1]},
        )
        return True
    return False


def _counts_down(conn: Connection, sequence: sql.Identifier) -> bool:
    row = conn.execute(
        "SELECT seqincrement < 0 FROM pg_sequence WHERE seqrelid = %(name)s::regclass",
        {"name": sequence.as_string(conn)},
    ).fetchone()
    assert row is not None
    return bool(row[0])


def _sequences(conn: Connection, schema: str) -> list[tuple[str, str]]:
    """Names and owners."""
    rows = conn.execute(
        """
        SELECT relname, rolname
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_roles ON pg_roles.oid = relowner
        WHERE nspname = %(schema)s AND relkind = 'S'
          AND NOT EXISTS (SELECT FROM pg_depend
                          WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
        ORDER BY 1
        """,
        {"schema": schema},
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def _moves_whole(conn: Connection, schema: str) -> bool:
    """Whether a schema may be renamed with all that is in it."""
    row = conn.execute(
        """
        SELECT pg_has_role(nspowner, 'USAGE')
               AND NOT EXISTS (SELECT FROM pg_extension WHERE extnamespace = n.oid)
        FROM pg_namespace n
        WHERE nspname = %(schema)s
        """,
        {"schema": schema},
    ).fetchone()
    if row is None:
        raise RollbackError(f"There is no schema {schema}", state="nothing was changed", next="plan again")
    return bool(row[0]) and not _is_published(conn, schema)


def _is_published(conn: Connection, schema: str) -> bool:
    """Whether a publication names the schema itself."""
    if conn.info.server_version < LISTS_SINCE:
        return False
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM pg_publication_namespace WHERE pnnspid = to_regnamespace(quote_ident(%(schema)s)))",
        {"schema": schema},
    ).fetchone()
    return row == (True,)


def _rename(conn: Connection, schema: str, name: str) -> None:
    conn.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(schema), sql.Identifier(name)))


def _create_like(conn: Connection, name: str, like: str) -> None:
    """A schema that belongs to whoever owns most of the other one's tables."""
    owner = conn.execute(
        """
        SELECT rolname
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_roles ON pg_roles.oid = relowner
        WHERE nspname = %(like)s AND relkind IN ('r', 'p') AND pg_has_role(relowner, 'USAGE')
        GROUP BY 1
        ORDER BY count(*) DESC, 1
        LIMIT 1
        """,
        {"like": like},
    ).fetchone()
    create = sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name))
    if owner is not None:
        create = sql.SQL("{} AUTHORIZATION {}").format(create, sql.Identifier(owner[0]))
    conn.execute(create)


def _move_all(conn: Connection, schema: str, to: str) -> None:
    stuck = [row[0] for row in conn.execute(_IMMOVABLE, {"schema": schema}).fetchall()]
    if stuck:
        raise RollbackError(
            f"In {schema} there is what cannot be moved: {', '.join(stuck[:5])}",
            state="nothing was changed",
            next="plan the restore by another way",
        )
    for statement in _moves(conn, schema, to):
        conn.execute(statement)


def _moves(conn: Connection, schema: str, to: str) -> Iterator[bytes]:
    """The statements, put together by the server, which quotes the names itself."""
    conn.execute("SET LOCAL search_path = pg_catalog")  # so that the types in a routine's arguments are named whole
    names: Mapping[str, str] = {"schema": schema, "to": to}
    rows = conn.execute(_MOVABLE, names).fetchall()
    conn.execute("RESET search_path")
    for kind, name in rows:
        row = conn.execute(
            "SELECT format('ALTER %%s %%I.%%s SET SCHEMA %%I', %(kind)s::text, %(schema)s::text, %(name)s::text,"
            " %(to)s::text)",
            {**names, "kind": kind, "name": name},
        ).fetchone()
        assert row is not None
        yield row[0].encode()

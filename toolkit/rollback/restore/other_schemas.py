"""What stands in the live database beside the schemas that are restored, and must be there when it is replaced by name.

A source may hold those schemas or not. Where it does not, their definitions come from the live database and their rows
with the catch-up, so that nothing of them is older than the swap. What no schema holds cannot follow, and is refused
before anything is closed.
"""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.errors import RollbackError
from toolkit.rollback.restore.catalog import root_tables

_TOLD = 5

_HELD = """
SELECT nspname
FROM pg_namespace AS n
WHERE nspname <> ALL (%(but)s) AND nspname NOT LIKE 'pg\\_%%' AND nspname NOT IN ('information_schema', 'toolkit')
  AND nspname NOT LIKE 'restored\\_%%' AND nspname NOT LIKE 'damaged\\_%%'
  AND NOT EXISTS (
      SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = n.oid AND deptype = 'e')
  AND (NOT EXISTS (SELECT FROM pg_extension WHERE extnamespace = n.oid)
       OR EXISTS (
           SELECT FROM pg_class
           WHERE relnamespace = n.oid AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
             AND NOT EXISTS (
                 SELECT FROM pg_depend
                 WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('e', 'i')))
       OR EXISTS (
           SELECT FROM pg_proc
           WHERE pronamespace = n.oid
             AND NOT EXISTS (
                 SELECT FROM pg_depend
                 WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype IN ('e', 'i'))))
ORDER BY 1
"""

_OUTSIDE = """
SELECT 'large objects' WHERE EXISTS (SELECT FROM pg_largeobject_metadata)
UNION ALL
SELECT 'event trigger ' || evtname FROM pg_event_trigger
WHERE NOT EXISTS (
    SELECT FROM pg_depend
    WHERE classid = 'pg_event_trigger'::regclass AND objid = pg_event_trigger.oid AND deptype = 'e')
UNION ALL
SELECT 'foreign server ' || srvname FROM pg_foreign_server
WHERE NOT EXISTS (
    SELECT FROM pg_depend
    WHERE classid = 'pg_foreign_server'::regclass AND objid = pg_foreign_server.oid AND deptype = 'e')
UNION ALL
SELECT 'subscription ' || subname FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""


def held_beside(conn: Connection, but: Sequence[str]) -> list[str]:
    """Schemas that hold something of somebody's, apart from `but`, from the toolkit's own and from what a restore made.

    One that holds an extension and nothing else comes with the extension.
    """
    return [row[0] for row in conn.execute(_HELD, {"but": list(but)}).fetchall()]


def outside_schemas(conn: Connection) -> list[str]:
    """What belongs to the database and to none of its schemas: another database of the same name would not have it."""
    return [row[0] for row in conn.execute(_OUTSIDE).fetchall()]


def require_covered(there: Connection, here: Connection, schemas: Sequence[str], restored: Sequence[str]) -> None:
    """RollbackError unless the copy (`here`) has a place for all that the live database (`there`) holds.

    `schemas` are those of the copy that are caught up. Of the `restored` ones tables may be newer than the source; of
    the others none may be missing.
    """
    missing = [f"schema {name}" for name in held_beside(there, schemas)]
    missing += [
        f"table {schema}.{table}"
        for schema in schemas
        if schema not in restored
        for table in _names(there, schema) - _names(here, schema)
    ]
    missing += outside_schemas(there)
    if missing:
        more = f", and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        raise RollbackError(
            f"The copy has no place for what stands in the live database: {', '.join(sorted(missing)[:_TOLD])}{more}",
            state="production was not touched",
            next="give the plan up (--abort) and plan again, by way of reloading the damaged tables",
        )


def refresh_views(conn: Connection, schemas: Sequence[str]) -> None:
    """Fill the materialized views of these schemas from what was caught up."""
    rows = conn.execute(
        """
        SELECT schemaname, matviewname
        FROM pg_matviews
        JOIN pg_class ON oid = format('%%I.%%I', schemaname, matviewname)::regclass
        WHERE schemaname = ANY (%(schemas)s)
        ORDER BY oid
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    for schema, view in rows:  # the older first, for a newer one may read it
        conn.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(schema, view)))


def _names(conn: Connection, schema: str) -> set[str]:
    return {name for name, _ in root_tables(conn, schema)}

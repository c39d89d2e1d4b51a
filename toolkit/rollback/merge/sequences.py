"""Sequences of the restored side go on where the furthest of both stands, so that no number is given out twice."""

from collections.abc import Mapping

from toolkit.adapters.postgres import Connection, sql


def advance_sequences(conn: Connection, damaged: Mapping[str, str], restored: Mapping[str, str]) -> int:
    """Advance each sequence that both sides have. How many were behind."""
    advanced = 0
    for name, (schema, increment) in _sequences(conn, restored).items():
        if name not in (live := _sequences(conn, damaged)):
            continue
        here, there = sql.Identifier(schema, name[1]), sql.Identifier(live[name][0], name[1])
        further = sql.SQL(">" if increment > 0 else "<")
        advanced += conn.execute(
            sql.SQL("""
                SELECT setval({restored}::regclass, live.last_value, live.is_called)
                FROM {there} AS live, {here} AS old
                WHERE live.last_value {further} old.last_value
                   OR (live.last_value = old.last_value AND live.is_called AND NOT old.is_called)
            """).format(restored=sql.Literal(here.as_string(conn)), there=there, here=here, further=further)
        ).rowcount
    return advanced


def _sequences(conn: Connection, schemas: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, int]]:
    """By the application's schema and the sequence's name: the schema where it stands, and its increment."""
    rows = conn.execute(
        """
        SELECT nspname, relname, seqincrement
        FROM pg_sequence
        JOIN pg_class ON pg_class.oid = seqrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY (%(schemas)s)
        """,
        {"schemas": list(schemas.values())},
    ).fetchall()
    application = {stands: name for name, stands in schemas.items()}
    return {(application[schema], name): (schema, increment) for schema, name, increment in rows}

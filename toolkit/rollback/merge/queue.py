"""Holding the queue: its waiting jobs stay where they are, and no worker takes one, until it is released.

A worker of pg-boss takes jobs whose `start_after` has passed, so a held job is put off by ten thousand years, to the
microsecond, and taken back by as much. A trigger does the same to what is added or tried again meanwhile. It stands in
the queue's own schema, so a hold survives a crash and a rename, and works for any role. Jobs that run are left alone.
"""

from toolkit.adapters.conflicts import undecided
from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.conflicts import JOB_STATE, prepare

TRIGGER = "toolkit_holds_job"
PUT_OFF, PUT_OFF_FROM = "87660000 hours", "9000-01-01 00:00:00+00"
COUNTED_AT_MOST = 10_000  # jobs that a status counts

_HOLDING = """
CREATE OR REPLACE FUNCTION toolkit.hold_job() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $hold$
BEGIN
    IF NEW.state::text IN ('created', 'retry')
       AND isfinite(NEW.start_after) AND NEW.start_after < timestamptz '9000-01-01 00:00:00+00' THEN
        NEW.start_after := NEW.start_after + interval '87660000 hours';
    END IF;
    RETURN NEW;
END
$hold$
"""


def hold_queue(conn: Connection, schema: str) -> int:
    """Hold pg-boss's queue in that schema (the name under which it stands now). Jobs put off now; safe to repeat."""
    if not queue_is_held(conn, schema):
        prepare(conn)
        conn.execute(_HOLDING)
        trigger = sql.SQL(
            "CREATE TRIGGER {} BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION toolkit.hold_job()"
        )
        conn.execute(trigger.format(sql.Identifier(TRIGGER), sql.Identifier(schema, "job")))
    # the trigger puts off what is touched
    touch = sql.SQL("""
        UPDATE {} SET start_after = start_after
        WHERE state::text IN ('created', 'retry') AND isfinite(start_after) AND start_after < {}::timestamptz
    """).format(sql.Identifier(schema, "job"), sql.Literal(PUT_OFF_FROM))
    return conn.execute(touch).rowcount


def hold_effects(conn: Connection, schema: str | None) -> int | None:
    """As `hold_queue`; None where there is no queue to be held."""
    if schema is None or not _is_there(conn, schema):
        return None
    return hold_queue(conn, schema)


def undecided_jobs(conn: Connection, mark: str, schema: str) -> int:
    """Jobs of that queue that a merge brought back or could not decide, and that nobody has settled yet."""
    found = undecided(conn, mark)
    return sum(each.table == f"{schema}.job" and each.reason != JOB_STATE for each in found)


def release_queue(conn: Connection, schema: str) -> int:
    """Give every job its time back. Jobs that got it back; 0 where nothing was held."""
    if not _is_there(conn, schema):
        return 0
    job = sql.Identifier(schema, "job")
    conn.execute(sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(TRIGGER), job))
    back = sql.SQL("""
        UPDATE {} SET start_after = start_after - {}::interval
        WHERE isfinite(start_after) AND start_after >= {}::timestamptz
    """).format(job, sql.Literal(PUT_OFF), sql.Literal(PUT_OFF_FROM))
    return conn.execute(back).rowcount


def _is_there(conn: Connection, schema: str) -> bool:
    row = conn.execute(
        "SELECT to_regclass(format('%%I.job', %(schema)s::text)) IS NOT NULL", {"schema": schema}
    ).fetchone()
    return row == (True,)


def queue_is_held(conn: Connection, schema: str) -> bool:
    """Whether it is held."""
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT FROM pg_trigger
            JOIN pg_class ON pg_class.oid = tgrelid
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = %(schema)s AND relname = 'job' AND tgname = %(trigger)s
        )
        """,
        {"schema": schema, "trigger": TRIGGER},
    ).fetchone()
    return row == (True,)


def held_jobs(conn: Connection, schema: str) -> int | None:
    """How many jobs a held queue has put off, counted as far as `COUNTED_AT_MOST`; None where it is not held."""
    if not queue_is_held(conn, schema):
        return None
    count = sql.SQL("""
        SELECT count(*) FROM (
            SELECT FROM {} WHERE isfinite(start_after) AND start_after >= {}::timestamptz LIMIT {}
        ) AS held
    """).format(sql.Identifier(schema, "job"), sql.Literal(PUT_OFF_FROM), sql.Literal(COUNTED_AT_MOST))
    row = conn.execute(count).fetchone()
    return int(row[0]) if row else 0

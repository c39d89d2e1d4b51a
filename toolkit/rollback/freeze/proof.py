"""Prove that nothing writes: from the catalog, by trying to write as the application, and by watching for a while.

Each is a check of its own, since each can be wrong where the others are not: privileges by way of a role that nobody
thought of, a right that only the attempt shows, a writer that has none of these roles.
"""

import time
from collections.abc import Mapping, Sequence

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.adapters.readings import exists, relation, split_name
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, CheckResult, Finding, Outcome, failed, judge, overall, run_checks, unknown
from toolkit.errors import DatabaseError
from toolkit.rollback.blocking import sqlstate_of
from toolkit.rollback.freeze.record import Frozen, frozen, frozen_in, frozen_roles, mark_proved
from toolkit.rollback.freeze.scope import Scope, scope_of
from toolkit.rollback.freeze.stopping import Guard

AREA = "freeze"
REFUSED = "42501"
CATALOG, ATTEMPT = "no role of the application may write", "a write by the application is refused"
WATCH = "no row came, changed or went"
WAYS = (CATALOG, ATTEMPT, WATCH)
WATCH_S = 2.0
WATCH_WITHIN_S = 12.0  # sessions report what they did before up to ten seconds later
LOOK_EVERY_S = 0.1
ATTEMPT_WITHIN_MS = 3_000
NAMED = 5

_CAN_WRITE = """
SELECT DISTINCT role.rolname || ': ' || nspname || '.' || relname
FROM pg_roles AS role
JOIN pg_class ON relkind IN ('r', 'p', 'v', 'f')
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = ANY (%(schemas)s) AND NOT role.rolname = ANY (%(exempt)s) AND role.rolname <> session_user
  AND role.rolname <> ALL (%(closed)s)
  AND EXISTS (
      SELECT
      FROM pg_roles AS application
      WHERE application.rolname = ANY (%(application)s)
        AND (application.oid = role.oid OR NOT role.rolsuper AND pg_has_role(role.oid, application.oid, 'MEMBER')))
  AND (has_table_privilege(role.oid, pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
       OR has_any_column_privilege(role.oid, pg_class.oid, 'INSERT, UPDATE'))
ORDER BY 1
"""


def prove(systems: Systems, *, watch_s: float = WATCH_S) -> list[CheckResult]:
    """Whether the freeze that is in force holds, each way on its own. Takes about `watch_s` seconds.

    Raises DatabaseError when the database does not even say whether anything is frozen.
    """
    database, scope = systems.database, scope_of(systems.playbook)
    there = frozen(database)
    if there is None:
        nothing = unknown("nothing is frozen")
        return run_checks([Check("writes are stopped", AREA, lambda: nothing)])
    return run_checks(freeze_checks(systems, there, scope, watch_s))


def proved(systems: Systems, *, watch_s: float, guard: Guard, strict: bool = True) -> list[CheckResult]:
    """`prove`, and where that is a proof it is kept on the target that it was. Not `strict`, as on a copy that nobody
    writes to: it is enough that no check failed. Raises as the database does."""
    results = prove(systems, watch_s=watch_s)
    if is_proof(results) or (not strict and overall(results) is not Outcome.FAIL):
        with systems.database.writing(
            within_ms=ATTEMPT_WITHIN_MS, hang_up_after_s=3 * ATTEMPT_WITHIN_MS / 1000
        ) as conn:
            guard(conn)
            if there := frozen_in(conn):
                mark_proved(conn, there.id)
    return results


def is_proof(results: Sequence[CheckResult]) -> bool:
    """No check failed, and of the three ways to see it two tell that nothing writes: each may be unknown for a reason
    that says nothing about writes (we are no member of the application's role, or an exempt role goes on writing)."""
    held = [each.name for each in results if each.outcome is Outcome.PASS]
    return overall(results) is not Outcome.FAIL and sum(way in held for way in WAYS) >= 2


def came_since(systems: Systems, there: Frozen) -> dict[str, int]:
    """How many rows were written although it is frozen, by what they are; {} for none. Raises DatabaseError."""
    if there.settled_at is None:
        return {}
    names, database = systems.playbook.database, systems.database
    times = {f"rows in {names.events_table}": (names.events_table, names.events_time)}
    if names.queue_schema:
        times["jobs started"] = (f"{names.queue_schema}.job", "started_on")
    found = {said: _younger(database, there, table, column) for said, (table, column) in times.items()}
    return {said: count for said, count in found.items() if count}


def freeze_checks(systems: Systems, there: Frozen, scope: Scope, watch_s: float) -> list[Check]:
    """The checks of `prove`, not run yet."""
    names, database = systems.playbook.database, systems.database
    tables = [*names.critical_tables, *([f"{names.queue_schema}.job"] if names.queue_schema else [])]
    times = {names.events_table: names.events_time}
    return [
        Check("nobody is left who had begun to write", AREA, lambda: _settled(there)),
        Check(CATALOG, AREA, lambda: _nobody_may(database, there)),
        Check(ATTEMPT, AREA, lambda: _refused(database, there, tables)),
        Check(WATCH, AREA, lambda: _still(database, there, times, watch_s)),
        *_queue_check(database, there, names.queue_schema),
    ]


def _settled(there: Frozen) -> Finding:
    when = there.settled_at
    return judge(when is not None, f"{there}; " + (f"settled at {when:%H:%M:%S.%f} UTC" if when else "not settled"))


def _nobody_may(database: Database, there: Frozen) -> Finding:
    with database.reading() as conn:
        application = frozen_roles(conn, there)
        rows = conn.execute(
            _CAN_WRITE,
            {
                "schemas": list(there.scope.schemas),
                "exempt": list(there.scope.exempt_roles),
                "closed": list(there.closed_roles),
                "application": application,
            },
        ).fetchall()
    if not application:
        return unknown("as whom the application writes is not known: application_roles in playbook.toml")
    able = [row[0] for row in rows]
    said = f"{', '.join(application)} and their members: {len(able)} tables that one of them may write"
    return judge(not able, said + (f", such as {', '.join(able[:NAMED])}" if able else ""))


def _refused(database: Database, there: Frozen, tables: Sequence[str]) -> Finding:
    """Try to add a row to each table, in the application's name; nothing would be added where it were let."""
    with database.reading() as conn:
        application = frozen_roles(conn, there)
        roles = [role for role in application if _may_become(conn, role)]
        wanted = [table for table in tables if exists(conn, table)]
    if not roles:
        named = application[0] if application else "the application's role"
        return unknown(f"not tried: we are no member of {', '.join(application) or named} (GRANT {named} TO us)")
    attempts = {(role, table): _attempt(database, role, table) for role in roles for table in wanted}
    let = [f"{table} as {role} ({said})" for (role, table), said in attempts.items() if said != REFUSED]
    told = f"{len(attempts) - len(let)} of {len(attempts)} attempts refused with {REFUSED}"
    return judge(bool(attempts) and not let, told + (f"; not refused: {', '.join(let[:NAMED])}" if let else ""))


def _attempt(database: Database, role: str, table: str) -> str:
    """What came of an INSERT of no row: an SQLSTATE, or 'let'. The privilege is checked all the same."""
    try:
        with database.writing(within_ms=ATTEMPT_WITHIN_MS, hang_up_after_s=3 * ATTEMPT_WITHIN_MS / 1000) as conn:
            conn.execute("SET TRANSACTION READ WRITE")
            column = _any_column(conn, table)
            conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            conn.execute(
                sql.SQL("INSERT INTO {} ({}) SELECT NULL WHERE false").format(relation(table), sql.Identifier(column))
            )
            raise _Let
    except _Let:
        return "let"
    except DatabaseError as error:
        return sqlstate_of(error) or "no answer"


class _Let(Exception):
    """Rolls the attempt's transaction back."""


def _any_column(conn: Connection, table: str) -> str:
    """A column of type text where there is one, which takes an untyped NULL; never a generated one."""
    schema, name = split_name(table)
    row = conn.execute(
        """
        SELECT attname::text
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %(schema)s AND relname = %(name)s AND attnum > 0 AND NOT attisdropped
          AND attgenerated = '' AND attidentity = ''
        ORDER BY atttypid <> 'text'::regtype, attnum
        LIMIT 1
        """,
        {"schema": schema, "name": name},
    ).fetchone()
    return str(row[0]) if row else ""


def _may_become(conn: Connection, role: str) -> bool:
    member = "SET" if conn.info.server_version >= 160000 else "MEMBER"
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT FROM pg_roles WHERE rolname = %(role)s AND pg_has_role(session_user, oid, %(member)s)
        )
        """,
        {"role": role, "member": member},
    ).fetchone()
    return row == (True,)


def _still(database: Database, there: Frozen, times: Mapping[str, str], watch_s: float) -> Finding:
    """The server's counters of rows stand still for `watch_s` seconds, and no row is younger than the freeze."""
    if there.settled_at is None:
        return unknown("the freeze is not settled yet")
    counted = _counters(database, there.scope)
    began = quiet_since = time.monotonic()
    moved: dict[str, int] = {}
    while (now := time.monotonic()) - quiet_since < watch_s:
        if now - began > WATCH_WITHIN_S + watch_s:
            named = ", ".join(f"{table} {count:+d}" for table, count in sorted(moved.items())[:NAMED])
            if exempt := there.scope.exempt_roles:
                return unknown(f"rows go on changing, which {', '.join(exempt)} may do: {named}")
            return failed(f"rows go on changing, {now - began:.0f} s after the first look: {named}")
        time.sleep(LOOK_EVERY_S)
        again = _counters(database, there.scope)
        if again != counted:
            moved = {table: n - counted.get(table, 0) for table, n in again.items() if n != counted.get(table)}
            counted, quiet_since = again, time.monotonic()
    younger = {table: _younger(database, there, table, column) for table, column in times.items()}
    told = ", ".join(f"{count} younger rows in {table}" for table, count in younger.items())
    return judge(not any(younger.values()), f"{len(counted)} tables stood still for {watch_s:g} s; {told}")


def _counters(database: Database, scope: Scope) -> dict[str, int]:
    """Rows added, changed or deleted since the statistics began, by table; rolled back ones too."""
    with database.reading() as conn:
        rows = conn.execute(
            """
            SELECT schemaname || '.' || relname, (n_tup_ins + n_tup_upd + n_tup_del)::bigint
            FROM pg_stat_user_tables
            WHERE schemaname = ANY (%(schemas)s)
            """,
            {"schemas": list(scope.schemas)},
        ).fetchall()
    return dict(rows)


def _younger(database: Database, there: Frozen, table: str, column: str) -> int:
    """Rows that say they are younger than the freeze, and that were written after it: clocks are wrong now and then."""
    query = sql.SQL(
        """
        SELECT count(*)
        FROM {table} AS written, toolkit.freeze AS stop
        WHERE stop.id = %(freeze)s AND written.{time} > stop.settled_at
          AND (stop.settled_xid IS NULL OR age(written.xmin) < age(stop.settled_xid))
        """
    ).format(table=relation(table), time=sql.Identifier(column))
    with database.reading() as conn:
        row = conn.execute(query, {"freeze": there.id}).fetchone()
    return int(row[0]) if row else 0


def _queue_check(database: Database, there: Frozen, schema: str | None) -> list[Check]:
    if schema is None:
        return []
    job = f"{schema}.job"

    def look() -> Finding:
        if there.settled_at is None:
            return unknown("the freeze is not settled yet")
        began = _younger(database, there, job, "started_on")
        booked = _younger(database, there, job, "created_on")
        return judge(began + booked == 0, f"{began} jobs started and {booked} booked since the freeze")

    return [Check("no job was started", AREA, look)]

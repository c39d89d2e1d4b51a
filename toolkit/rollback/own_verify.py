"""What a change's own verify script says of the schema, where the migration tool has such scripts (sqitch).

As sqitch runs them: an error is a failure, and a change without a script is none. It runs as whoever owns the state
table, in a transaction of which nothing is kept, with bounds. One that cannot be run so is unknown.
"""

from toolkit.adapters.postgres import sql
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, CheckResult, Finding, failed, passed, run_checks, unknown
from toolkit.errors import DatabaseError, ToolkitError
from toolkit.rollback.down_sql import transaction_control
from toolkit.rollback.migrations import Script, read_folder
from toolkit.rollback.sql_lexer import SqlError
from toolkit.rollback.state_tables import owner_of, read_recorded

AREA = "schema"
VERIFIED = "the change's own verify script passes"
WITHIN_MS, LOCK_WITHIN_MS = 60_000, 2_000
BEFORE, BACK = sql.SQL("SAVEPOINT toolkit_before_verify"), sql.SQL("ROLLBACK TO SAVEPOINT toolkit_before_verify")
# Not the schema's fault: no connection, no privilege, no room, no lock, no time.
_TELLS_NOTHING = ("08", "42501", "53", "55P03", "57", "58")


def verified_by_script(systems: Systems, version: int | None) -> list[CheckResult]:
    """A check, where the migration at which the schema now is has a verify script; else []. Raises ToolkitError where
    the folder cannot be read."""
    migration = read_folder(systems.target.migrations).migrations.get(version) if version is not None else None
    script = migration.verify if migration is not None else None
    return run_checks([Check(VERIFIED, AREA, lambda: _look(systems, script))]) if script is not None else []


def _look(systems: Systems, script: Script) -> Finding:
    if wrong := _unfit(script):
        return unknown(f"{script.file} {wrong}")
    try:
        _run(systems, script)
    except DatabaseError as error:
        said = f"{script.file}: {error.what}"
        tells = error.sqlstate is not None and not error.sqlstate.startswith(_TELLS_NOTHING)
        return failed(said) if tells else unknown(said)
    except ToolkitError as error:
        return unknown(f"{script.file} was not run: {error.what}")
    return passed(f"{script.file} ran without an error, and was rolled back")


def _unfit(script: Script) -> str:
    """Why it cannot run in a transaction of ours; '' where it can."""
    if script.problem:
        return script.problem
    try:
        control = transaction_control(script.statements)
    except SqlError as error:
        return f"is malformed: {error}"
    return f"ends the transaction that it runs in (line {control[0].line})" if control else ""


def _run(systems: Systems, script: Script) -> None:
    found, _ = read_recorded(systems.database, systems.playbook.database.state_table)
    with systems.database.writing(
        within_ms=WITHIN_MS, lock_within_ms=LOCK_WITHIN_MS, hang_up_after_s=2 * WITHIN_MS / 1000
    ) as conn:
        owner = owner_of(conn, found)
        conn.execute(BEFORE)
        conn.execute("SELECT set_config('role', %(owner)s, true)", {"owner": owner})
        conn.execute(script.content)
        conn.execute(BACK)

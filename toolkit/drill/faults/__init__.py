"""What breaks the sandbox. A fault acts as people do, through the database, its server and the platform's API, and
tells nobody.

The monitor, the assessment and the notebooks must never import this, nor learn from it: a drill that tells the detector
measures itself.

    releases    migrations and deployments
    sessions    sessions that stay
    hosting     the database's server, its disk and its backups
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import httpx
import psycopg

from toolkit.drill.fault_kinds import (
    Backups,
    Deploy,
    Disk,
    Fault,
    HalfApply,
    Migrate,
    MigrateAndDeploy,
    Server,
    Sessions,
    Sql,
)
from toolkit.drill.faults import hosting, releases, sessions
from toolkit.drill.scenario import Scenario, migrations_of
from toolkit.drill.schema import MIGRATIONS, release_migrations
from toolkit.drill.state import SandboxState
from toolkit.errors import DatabaseError, PlatformError, UsageError

Done = dict[str, object]


def inject(scenario: Scenario, state: SandboxState) -> list[Done]:
    """Break it, and return what was done, a fault each. Returns when all are in effect.

    The scenario's migrations come into the folder of migrations first, as a release brings them. Raises UsageError,
    with nothing done, where the schema is not at the migration before them, and where the sandbox cannot have such a
    fault; DatabaseError, PlatformError.
    """
    migrations = [f.migration for f in scenario.faults if isinstance(f, MigrateAndDeploy | Migrate | HalfApply)]
    with _told(state):
        if any(isinstance(fault, Server | Disk) for fault in scenario.faults):
            hosting.expect_own_server(state)
        if migrations:
            _expect_version(min(migrations) - 1, scenario, state)
            release_migrations(state.migrations, migrations_of(scenario) or MIGRATIONS)
        return [put_in(fault, scenario, state) for fault in scenario.faults]


def undo(scenario: Scenario, state: SandboxState) -> list[Done]:
    """Put it right by hand, as the scenario says that a person does; a thing done each. Raises as `inject`."""
    with _told(state):
        return [put_in(fault, scenario, state) for fault in scenario.undo]


def put_in(fault: Fault, scenario: Scenario, state: SandboxState) -> Done:
    """One of them, with the scenario's parameters. Raises what the drivers raise."""
    match fault:
        case MigrateAndDeploy():
            done = releases.migrate(state, fault.migration) | releases.deploy(state, fault)
        case Migrate():
            done = releases.migrate(state, fault.migration)
        case HalfApply():
            done = releases.half_apply(state, fault)
        case Deploy():
            done = releases.deploy(state, fault)
        case Sql():
            done = _run(fault.statements, scenario.parameters, sessions.url_of(fault.by, state))
        case Sessions():
            done = sessions.hold(fault, state)
        case Server():
            done = hosting.SERVER[fault.does](state)
        case Backups():
            done = hosting.spoil_backups(fault, state)
        case Disk():
            done = hosting.move_to_small_disk(fault, state)
    return done | {"what": fault.commit}


def _run(statements: Sequence[str], parameters: Mapping[str, object], url: str) -> Done:
    rows = 0
    with psycopg.connect(url) as conn:
        for statement in statements:
            rows += max(0, conn.execute(statement.encode(), parameters or None).rowcount)
    return {"rows": rows}


def _expect_version(wanted: int, scenario: Scenario, state: SandboxState) -> None:
    with psycopg.connect(state.owner_url) as conn:
        found = conn.execute("SELECT version, dirty FROM schema_migrations").fetchone()
    if found != (wanted, False):
        version, dirty = found or (0, False)
        raise UsageError(
            f"{scenario.name} breaks a schema at migration {wanted}; that of sandbox {state.name!r} is at {version}"
            + (", dirty" if dirty else ""),
            state="nothing was done",
            next=f"roll it back, or start another sandbox: toolkit sandbox start --name {state.name}-2",
        )


@contextlib.contextmanager
def _told(state: SandboxState) -> Iterator[None]:
    """Drivers' errors as ours."""
    half_done = "the fault may be in by half"
    over = f"toolkit sandbox stop --name {state.name}, then start a fresh one"
    try:
        yield
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error).strip() or type(error).__name__
        raise DatabaseError(f"The sandbox's database refused: {said}", state=half_done, next=over) from error
    except httpx.HTTPError as error:
        raise PlatformError(f"The sandbox's platform refused: {error}", state=half_done, next=over) from error

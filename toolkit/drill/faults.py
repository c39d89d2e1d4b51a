"""What breaks the sandbox. A fault acts as people do, through the database and the platform's API, and tells nobody.

The monitor, the assessment and the notebooks must never import this, nor learn from it: a drill that tells the detector
measures itself.
"""

import contextlib
from collections.abc import Iterator

import httpx
import psycopg

from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.drill.scenario import Deploy, Fault, HalfApply, Migrate, MigrateAndDeploy, Scenario, migrations_of
from toolkit.drill.schema import MIGRATIONS, migrate_partly, migrate_up, release_migrations
from toolkit.drill.state import SandboxState
from toolkit.errors import DatabaseError, PlatformError, UsageError
from toolkit.playbook import load_playbook

DEPLOY_WITHIN_S = 30.0


def inject(scenario: Scenario, state: SandboxState) -> list[dict[str, object]]:
    """Break it, and return what was done, a fault each. Returns when all are in effect.

    The scenario's migrations come into the folder of migrations first, as a release brings them. Raises UsageError,
    with nothing done, where the schema is not at the migration before them; DatabaseError, PlatformError.
    """
    migrations = [fault.migration for fault in scenario.faults if not isinstance(fault, Deploy)]
    with _told(state):
        if migrations:
            _expect_version(min(migrations) - 1, scenario, state)
            release_migrations(state.migrations, migrations_of(scenario) or MIGRATIONS)
        return [_put_in(fault, state) for fault in scenario.faults]


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


def _put_in(fault: Fault, state: SandboxState) -> dict[str, object]:
    match fault:
        case MigrateAndDeploy():
            done = _migrate(state, fault.migration) | _deploy(state, fault.build, fault.commit)
        case Migrate():
            done = _migrate(state, fault.migration)
        case HalfApply():
            with psycopg.connect(state.owner_url) as conn:
                done = {"statements": migrate_partly(conn, fault.migration, fault.statements, state.migrations)}
        case Deploy():
            done = _deploy(state, fault.build, fault.commit, defect=fault.defect)
    return done | {"what": fault.commit}


def _migrate(state: SandboxState, to: int) -> dict[str, object]:
    with psycopg.connect(state.owner_url) as conn:
        return {"migrations": migrate_up(conn, to, state.migrations)}


def _deploy(state: SandboxState, build: int, commit: str, defect: str = "") -> dict[str, object]:
    target = load_playbook().target("sandbox", state.environment())
    config = VercelConfig(
        api_url=target.vercel_api_url,
        token=target.vercel_token,
        project_id=target.vercel_project,
        team_id=target.vercel_team,
    )
    meta = {"schemaVersion": str(build), "githubCommitMessage": commit}
    if defect:
        headers = {"Authorization": f"Bearer {state.vercel_token}"}
        httpx.put(
            f"{state.vercel_api_url}/stand-in/defect", json={"defect": defect}, headers=headers
        ).raise_for_status()
    with VercelClient(config) as platform:
        deployment = platform.create_deployment(name="churn-saver", meta=meta, within=DEPLOY_WITHIN_S)
    return {"deployment": deployment.id}

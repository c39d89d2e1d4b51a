"""What breaks the sandbox. A fault acts as people do, through the database and the platform's API, and tells nobody.

The monitor, the assessment and the notebooks must never import this, nor learn from it: a drill that tells the detector
measures itself.
"""

import httpx
import psycopg

from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.drill.scenario import Deploy, Fault, HalfApply, Migrate, MigrateAndDeploy, Scenario, migrations_of
from toolkit.drill.schema import migrate_partly, migrate_up, release_migrations
from toolkit.drill.state import SandboxState
from toolkit.playbook import load_playbook

DEPLOY_WITHIN_S = 30.0


def inject(scenario: Scenario, state: SandboxState) -> list[dict[str, object]]:
    """Break it, and return what was done, a fault each. Returns when all are in effect.

    The scenario's own migrations come into the folder of migrations first, as a release brings them. Raises
    DatabaseError, PlatformError.
    """
    own = migrations_of(scenario)
    if own is not None:
        release_migrations(state.migrations, own)
    return [_put_in(fault, state) for fault in scenario.faults]


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

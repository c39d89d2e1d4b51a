"""What breaks the sandbox. A fault acts as people do, through the database and the platform's API, and tells nobody.

The monitor, the assessment and the notebooks must never import this, nor learn from it: a drill that tells the detector
measures itself.
"""

import psycopg

from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.drill.scenario import MigrateAndDeploy, Scenario
from toolkit.drill.schema import migrate_up
from toolkit.drill.state import SandboxState
from toolkit.playbook import load_playbook

DEPLOY_WITHIN_S = 30.0


def inject(scenario: Scenario, state: SandboxState) -> dict[str, object]:
    """Break it, and return what was done. Returns when the fault is in effect. Raises DatabaseError, PlatformError."""
    match scenario.fault:
        case MigrateAndDeploy() as release:
            return _migrate_and_deploy(release, state)


def _migrate_and_deploy(release: MigrateAndDeploy, state: SandboxState) -> dict[str, object]:
    with psycopg.connect(state.owner_url) as conn:
        applied = migrate_up(conn, release.migration)
    target = load_playbook().target("sandbox", state.environment())
    config = VercelConfig(
        api_url=target.vercel_api_url,
        token=target.vercel_token,
        project_id=target.vercel_project,
        team_id=target.vercel_team,
    )
    with VercelClient(config) as platform:
        deployment = platform.create_deployment(
            name="churn-saver",
            meta={"schemaVersion": str(release.build), "githubCommitMessage": release.commit},
            within=DEPLOY_WITHIN_S,
        )
    return {"migrations": applied, "deployment": deployment.id, "what": release.commit}

"""Migrations and deployments, as a release brings them."""

import contextlib
from urllib.parse import urlsplit

import httpx
import psycopg

from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.drill.fault_kinds import Deploy, HalfApply, MigrateAndDeploy
from toolkit.drill.schema import migrate_partly, migrate_up
from toolkit.drill.state import SandboxState
from toolkit.playbook import load_playbook

DEPLOY_WITHIN_S = 30.0


def migrate(state: SandboxState, to: int) -> dict[str, object]:
    """All up to that version."""
    with psycopg.connect(state.owner_url) as conn:
        return {"migrations": migrate_up(conn, to, state.migrations)}


def half_apply(state: SandboxState, fault: HalfApply) -> dict[str, object]:
    """Its first statements; where one fails, it died there."""
    with psycopg.connect(state.owner_url) as conn, contextlib.suppress(psycopg.OperationalError):
        migrate_partly(conn, fault.migration, fault.statements, state.migrations)
    return {"statements": fault.statements}


def deploy(state: SandboxState, fault: Deploy | MigrateAndDeploy) -> dict[str, object]:
    """Build and point production at it. Returns its id."""
    target = load_playbook().target("sandbox", state.environment())
    config = VercelConfig(
        api_url=target.vercel_api_url,
        token=target.vercel_token,
        project_id=target.vercel_project,
        team_id=target.vercel_team,
    )
    meta = {"schemaVersion": str(fault.build), "githubCommitMessage": fault.commit}
    if isinstance(fault, Deploy) and fault.defect:
        headers = {"Authorization": f"Bearer {state.vercel_token}"}
        httpx.put(
            f"{state.vercel_api_url}/stand-in/defect", json={"defect": fault.defect}, headers=headers
        ).raise_for_status()
    with VercelClient(config) as platform:
        for name, value in fault.environment.items() if isinstance(fault, Deploy) else ():
            platform.set_environment(name, state.environment()[value[1:]] if value.startswith("$") else value)
        deployment = platform.create_deployment(name="churn-saver", meta=meta, within=DEPLOY_WITHIN_S)
        if platform.production(urlsplit(state.service_url).netloc).id != deployment.id:
            platform.promote(deployment.id, within=DEPLOY_WITHIN_S)  # after a rollback nothing goes live by itself
    return {"deployment": deployment.id}

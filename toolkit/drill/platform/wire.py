"""How deployments, the project and its requests look in JSON: the vendor's fields, as its own clients require them.

It renders and decides nothing. No environment value and no DATABASE_URL ever passes through here.
"""

from toolkit.drill.platform.deployments import Deployment, ReadyState
from toolkit.drill.platform.state import AliasRequest, Project

JSON = dict[str, object]

USER_ID = "usr_sandbox"
USERNAME = "sandbox"

_RESOURCES: JSON = {"functionDefaultRegions": ["iad1"]}


def listed(project: Project, d: Deployment) -> JSON:
    """One entry of a list: here `aliasAssigned` is a time."""
    return {
        **_common(project, d),
        "uid": d.id,
        "created": d.created_ms,
        "state": d.state,
        "type": "LAMBDAS",
        "aliasAssigned": d.aliased_ms if d.aliased_ms is not None else False,
        "isRollbackCandidate": project.is_rollback_candidate(d),
    }


def single(project: Project, d: Deployment) -> JSON:
    """One deployment asked by itself: here `aliasAssigned` is a truth value."""
    identity = project.identity
    return {
        **_common(project, d),
        "id": d.id,
        "type": "LAMBDAS",
        "version": 2,
        "status": d.state,
        "ownerId": identity.team_id,
        "team": {"id": identity.team_id, "slug": identity.team_slug, "name": identity.team_slug},
        "alias": aliases_of(project, d),
        "aliasFinal": None,
        "aliasAssigned": d.aliased_ms is not None,
        "aliasError": None,
        "bootedAt": d.building_ms,
        "public": False,
        "regions": ["iad1"],
        "routes": None,
        "build": {"env": []},
        "env": sorted(d.environment),  # names only, as the vendor
        "project": {"id": identity.project_id, "name": identity.name, "framework": None},
    }


def aliases_of(project: Project, d: Deployment) -> list[str]:
    """The names that lead to this deployment."""
    live = project.production is not None and project.production.id == d.id
    return [*(project.identity.aliases if live else ()), d.host]


def _common(project: Project, d: Deployment) -> JSON:
    identity = project.identity
    return {
        "name": identity.name,
        "projectId": identity.project_id,
        "url": d.host,
        "createdAt": d.created_ms,
        "buildingAt": d.building_ms or d.created_ms,
        "creator": {"uid": USER_ID, "username": USERNAME, "email": f"{USERNAME}@example.com"},
        "inspectorUrl": f"https://vercel.com/{identity.team_slug}/{identity.name}/{d.id.removeprefix('dpl_')}",
        "readyState": d.state,
        "source": "cli",
        "target": d.target if d.is_production else None,
        "meta": dict(d.meta),
        **({"ready": d.ready_ms} if d.ready_ms is not None else {}),
        **({"readySubstate": "PROMOTED" if d.served else "STAGED"} if d.state is ReadyState.READY else {}),
        **({"errorCode": "BUILD_FAILED", "errorMessage": d.error} if d.error else {}),
    }


def alias_request(request: AliasRequest) -> JSON:
    """The project's `lastAliasRequest`."""
    return {
        "fromDeploymentId": request.from_id,
        "toDeploymentId": request.to_id,
        "jobStatus": request.status,
        "requestedAt": request.requested_ms,
        "type": request.type,
    }


def project_body(project: Project, *, rollback_info: bool) -> JSON:
    """The project. `lastAliasRequest` only where it was asked for."""
    identity, production, request = project.identity, project.production, project.alias_request
    body: JSON = {
        "id": identity.project_id,
        "name": identity.name,
        "accountId": identity.team_id,
        "createdAt": project.created_ms,
        "updatedAt": request.requested_ms if request else project.created_ms,
        "framework": None,
        "nodeVersion": "22.x",
        "rootDirectory": None,
        "autoAssignCustomDomains": project.auto_assign,
        "directoryListing": False,
        "resourceConfig": _RESOURCES,
        "defaultResourceConfig": _RESOURCES,
        "deploymentExpiration": {},
        "live": True,
        "latestDeployments": [_as_target(project, d) for d in project.deployments[:3]],
        "targets": {"production": _as_target(project, production)} if production else {},
        "alias": [_project_alias(project, name, production) for name in identity.aliases],
    }
    if rollback_info:
        body["lastAliasRequest"] = alias_request(request) if request else None
        rolled_back = request is not None and request.type == "rollback" and not project.auto_assign
        body["lastRollbackTarget"] = {} if rolled_back else None
        if rolled_back and request and request.description:
            body["rollbackDescription"] = {
                "createdAt": request.requested_ms,
                "description": request.description,
                "userId": USER_ID,
                "username": USERNAME,
            }
    return body


def _project_alias(project: Project, name: str, production: Deployment | None) -> JSON:
    return {
        "domain": name,
        "environment": "production",
        "target": "PRODUCTION",
        "deployment": _as_target(project, production) if production else None,
    }


def _as_target(project: Project, d: Deployment) -> JSON:
    identity = project.identity
    return {
        "id": d.id,
        "name": identity.name,
        "url": d.host,
        "deploymentHostname": d.host.removesuffix(".vercel.app"),
        "alias": aliases_of(project, d),
        "aliasAssigned": d.aliased_ms,
        "createdAt": d.created_ms,
        "createdIn": "iad1",
        "readyAt": d.ready_ms,
        "readyState": d.state,
        "target": d.target if d.is_production else None,
        "type": "LAMBDAS",
        "plan": identity.plan,
        "private": False,
        "teamId": identity.team_id,
        "userId": USER_ID,
        "creator": {"uid": USER_ID, "username": USERNAME, "email": f"{USERNAME}@example.com"},
        "meta": dict(d.meta),
    }


def alias_body(project: Project, name: str, d: Deployment, *, created_ms: int) -> JSON:
    """One alias, as the alias endpoints give it."""
    return {
        "uid": f"als_{name}",
        "alias": name,
        "created": created_ms,
        "createdAt": created_ms,
        "creator": {"uid": USER_ID, "username": USERNAME},
        "deploymentId": d.id,
        "deployment": {"id": d.id, "url": d.host, "meta": "{}"},
        "projectId": project.identity.project_id,
    }


def build_events(d: Deployment) -> list[JSON]:
    """The build's log lines."""
    told = [(d.created_ms, "stdout", f"Cloning {d.meta.get('githubCommitSha', d.id)[:7]}")]
    if d.building_ms:
        told.append((d.building_ms, "stdout", f"Building with schema version {d.build}"))
    if d.ready_ms:
        told.append((d.ready_ms, "stdout", "Build Completed"))
    if d.error:
        told.append((d.building_ms or d.created_ms, "stderr", d.error))
    return [
        {
            "type": type_,
            "created": at,
            "date": at,
            "deploymentId": d.id,
            "id": f"{at}{serial:06d}",
            "serial": str(serial),
            "text": text,
            "level": "error" if type_ == "stderr" else "info",
            "info": {"type": "build", "name": "bld_" + d.id[4:13], "entrypoint": "."},
            "payload": {"deploymentId": d.id, "text": text, "date": at, "id": f"{at}{serial:06d}"},
        }
        for serial, (at, type_, text) in enumerate(told)
    ]

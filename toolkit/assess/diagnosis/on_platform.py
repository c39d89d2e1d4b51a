"""What the platform and the service tell: deployments, names of variables (values never), health endpoints."""

from collections.abc import Callable, Mapping

from toolkit.adapters.service import ServiceClient
from toolkit.adapters.systems import Systems
from toolkit.assess.diagnosis.answer import Answer, Row

MOST = 10


def deployments(systems: Systems) -> Answer:
    live = systems.platform.production(systems.production_host)
    found = systems.platform.deployments(limit=MOST)
    told: list[Row] = [
        {
            "deployment": each.id,
            "created": f"{each.created_at:%Y-%m-%d %H:%M}Z",
            "state": "live" if each.id == live.id else each.state.lower(),
            "message": each.commit_message or "",
        }
        for each in found
    ]
    newest = next((each for each in found if each.ready), None)
    unusual = [f"{each.id} is {each.state.lower()}" for each in found if each.state in ("ERROR", "CANCELED", "BLOCKED")]
    if newest is not None and newest.id != live.id:
        unusual.append(f"{newest.id} is newer than {live.id}, which is live")
    return Answer(told, unusual)


def variables(systems: Systems) -> Answer:
    """A change reaches only deployments built after it."""
    live = systems.platform.production(systems.production_host)
    found = [each for each in systems.platform.environment() if "production" in each.targets]
    changed = {each.key: f"{each.updated_at:%Y-%m-%d %H:%M}Z" if each.updated_at else "" for each in found}
    told: list[Row] = [{"name": each.key, "type": each.type, "changed": changed[each.key]} for each in found]
    late = [each.key for each in found if each.updated_at and each.updated_at > live.created_at]
    return Answer(told, [f"{key} was changed after {live.id} was built, which does not know it" for key in late])


def health(systems: Systems) -> Answer:
    with ServiceClient(systems.service.config) as client:
        found = [client.probe(path) for path in systems.playbook.endpoints.health_checks]
    told: list[Row] = [
        {
            "endpoint": each.path,
            "status": each.status_code or each.error,
            "says": each.status or "",
            "ms": f"{each.latency_ms:.0f}",
            "deployment": each.deployment or "",
        }
        for each in found
    ]
    return Answer(told, [f"{each.path} is not healthy" for each in found if not each.healthy])


QUESTIONS: Mapping[str, tuple[str, Callable[[Systems], Answer]]] = {
    "deployments": ("vercel ls churn-saver --recent", deployments),
    "variables": ("vercel env ls", variables),
    "health": ("curl -I https://churn-saver.vercel.app/api/health", health),
}

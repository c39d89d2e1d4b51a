"""The rules: which deployments there are, where production points, and what may become of either.

Pure: no sockets, no processes, no clock of its own (every change takes the time at which it happens), so that each rule
can be tested alone. It decides; `operations` does.

    request_rollback / request_promote ─► AliasRequest pending ─► in-progress ─► succeeded | failed | skipped
                                          (only `complete` moves production)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from toolkit.drill.platform.deployments import Deployment, ReadyState, new_deployment_id, new_host
from toolkit.drill.platform.environment import Environment
from toolkit.drill.platform.refusal import Refused

Kind = Literal["rollback", "promote"]
JobStatus = Literal["pending", "in-progress", "succeeded", "failed", "skipped"]


@dataclass(frozen=True)
class Identity:
    """What the project is called. `aliases` are the host names (with a port where there is one) of production."""

    project_id: str
    name: str
    team_id: str
    team_slug: str
    aliases: tuple[str, ...]
    plan: Literal["hobby", "pro"] = "pro"


@dataclass(frozen=True)
class AliasRequest:
    """The latest wish to point production elsewhere. `requested_ms` is milliseconds since 1970, UTC."""

    type: Kind
    from_id: str | None
    to_id: str
    requested_ms: int
    status: JobStatus = "pending"
    description: str | None = None

    @property
    def under_way(self) -> bool:
        return self.status in ("pending", "in-progress")


class Project:
    """Every deployment, the variables, and the alias. Methods that may not be raise Refused."""

    def __init__(self, identity: Identity, *, created_ms: int) -> None:
        self.identity, self.created_ms = identity, created_ms
        self.environment = Environment()
        self.auto_assign = True
        self.alias_request: AliasRequest | None = None
        self._deployments: dict[str, Deployment] = {}
        self._history: list[str] = []  # the ids that production pointed at, oldest first

    # What there is

    @property
    def deployments(self) -> list[Deployment]:
        """All deployments, newest first."""
        return sorted(self._deployments.values(), key=lambda d: d.created_ms, reverse=True)

    @property
    def production(self) -> Deployment | None:
        """The deployment that production points at."""
        return self._deployments[self._history[-1]] if self._history else None

    @property
    def recent(self) -> set[str]:
        """The ids that production points at and pointed at just before: those worth keeping warm."""
        return set(self._history[-2:])

    def find(self, id_or_host: str) -> Deployment:
        """A deployment by its id, its own host, or an alias of production. Refused 404 otherwise."""
        if id_or_host in self.identity.aliases and self.production:
            return self.production
        for deployment in self._deployments.values():
            if id_or_host in (deployment.id, deployment.host):
                return deployment
        raise Refused(404, "not_found", "The deployment could not be found.")

    def is_rollback_candidate(self, deployment: Deployment) -> bool:
        """Whether an instant rollback to it would be taken now."""
        try:
            self._check_rollback(deployment)
        except Refused:
            return False
        return True

    # Deployments

    def add(self, deployment: Deployment) -> Deployment:
        """Put in a deployment as it is: a past one, at the start."""
        self._deployments[deployment.id] = deployment
        if deployment.served:
            self._history.append(deployment.id)
        return deployment

    def create(self, build: int, target: str, meta: Mapping[str, str], *, now_ms: int) -> Deployment:
        """A new deployment, QUEUED. No two share their `created_ms`, because lists are paged by it."""
        newest = max((d.created_ms for d in self._deployments.values()), default=0)
        deployment = Deployment(
            id=new_deployment_id(),
            host=new_host(self.identity.name, self.identity.team_slug),
            build=build,
            target=target,
            created_ms=max(now_ms, newest + 1),
            meta=dict(meta),
        )
        self._deployments[deployment.id] = deployment
        return deployment

    def start_building(self, deployment_id: str, environment: Mapping[str, str], *, now_ms: int) -> Deployment:
        """QUEUED → BUILDING. The environment is frozen here; later changes do not reach this deployment."""
        return self._change(deployment_id, state=ReadyState.BUILDING, building_ms=now_ms, environment=dict(environment))

    def fail_building(self, deployment_id: str, error: str) -> Deployment:
        """QUEUED → ERROR. It never runs."""
        return self._change(deployment_id, state=ReadyState.ERROR, error=error)

    def finish_building(self, deployment_id: str, *, now_ms: int) -> Deployment:
        """BUILDING → READY. A production deployment then waits for `assign`, or is staged."""
        self._change(deployment_id, state=ReadyState.READY, ready_ms=now_ms)
        if self.will_assign(deployment_id):
            return self._deployments[deployment_id]
        return self._change(deployment_id, aliased_ms=now_ms)

    def will_assign(self, deployment_id: str) -> bool:
        """Whether this deployment goes live by itself: it is for production, and no rollback is in force."""
        return self._deployments[deployment_id].is_production and self.auto_assign

    def assign(self, deployment_id: str, *, now_ms: int) -> Deployment:
        """Production points here from now on, because it was just built."""
        return self._point_at(deployment_id, now_ms)

    # The alias

    def request_rollback(self, id_or_host: str, description: str | None, *, now_ms: int) -> AliasRequest:
        """Ask for an instant rollback. Nothing moves before `complete`."""
        deployment = self.find(id_or_host)
        self._check_free()
        self._check_rollback(deployment)
        return self._request("rollback", deployment, now_ms, description)

    def request_promote(self, id_or_host: str, *, now_ms: int) -> AliasRequest:
        """Ask for production to point at a finished production deployment; also what undoes a rollback."""
        deployment = self.find(id_or_host)
        self._check_free()
        self._check_ready(deployment)
        if not deployment.is_production:
            raise Refused(400, "bad_request", "Only production deployments can be promoted without a rebuild.")
        self._check_elsewhere(deployment)
        return self._request("promote", deployment, now_ms, None)

    def begin(self, request: AliasRequest) -> AliasRequest:
        """pending → in-progress."""
        return self._settle(request, "in-progress")

    def complete(self, request: AliasRequest, *, now_ms: int) -> AliasRequest:
        """in-progress → succeeded: production moves. A rollback stops automatic assignment, a promote restores it."""
        self._point_at(request.to_id, now_ms)
        self.auto_assign = request.type == "promote"
        return self._settle(request, "succeeded")

    def abandon(self, request: AliasRequest, status: Literal["failed", "skipped"]) -> AliasRequest:
        """The request ends and production stays where it is."""
        return self._settle(request, status)

    # Inside

    def _check_rollback(self, deployment: Deployment) -> None:
        self._check_ready(deployment)
        self._check_elsewhere(deployment)
        if not deployment.served:
            raise Refused(
                422, "invalid_deployment", "Only deployments that have served production traffic can be rolled back to."
            )
        if self.identity.plan == "hobby" and deployment.id not in self._history[-2:]:
            raise Refused(
                402, "payment_required", "To roll back further than the previous production deployment, upgrade to pro."
            )

    def _check_ready(self, deployment: Deployment) -> None:
        if deployment.state is not ReadyState.READY:
            raise Refused(422, "invalid_deployment", f"The deployment is {deployment.state}, not READY.")

    def _check_elsewhere(self, deployment: Deployment) -> None:
        if self.production and deployment.id == self.production.id:
            raise Refused(409, "conflict", "The deployment is already the current production deployment.")

    def _check_free(self) -> None:
        if self.alias_request and self.alias_request.under_way:
            raise Refused(409, "conflict", f"A {self.alias_request.type} is already in progress.")

    def _request(self, kind: Kind, deployment: Deployment, now_ms: int, description: str | None) -> AliasRequest:
        current = self.production.id if self.production else None
        self.alias_request = AliasRequest(
            kind, current, deployment.id, now_ms, description=description[:250] if description else None
        )
        return self.alias_request

    def _settle(self, request: AliasRequest, status: JobStatus) -> AliasRequest:
        self.alias_request = replace(request, status=status)
        return self.alias_request

    def _point_at(self, deployment_id: str, now_ms: int) -> Deployment:
        if not self._history or self._history[-1] != deployment_id:
            self._history.append(deployment_id)
        return self._change(deployment_id, served=True, aliased_ms=now_ms)

    def _change(self, deployment_id: str, **changes: object) -> Deployment:
        changed = replace(self._deployments[deployment_id], **changes)  # type: ignore[arg-type]
        self._deployments[deployment_id] = changed
        return changed

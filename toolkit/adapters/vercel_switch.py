"""Pointing production elsewhere, and seeing it there: the one place where the client changes what visitors get.

    ask where production points ─► already there: done, nothing asked
                                └► ask for the switch ─► look until it is there, refused, skipped, failed, or time is up

A status is never proof. Done is what production's own names lead to.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Literal, NoReturn
from urllib.parse import quote

from pydantic import BaseModel

from toolkit.adapters.vercel_calls import Calls, VercelRefused
from toolkit.adapters.vercel_values import (
    AliasRequest,
    Deployment,
    DeploymentBody,
    ProjectBody,
    ProjectState,
    Switched,
)
from toolkit.clock import wait_until
from toolkit.errors import DeadlineExceeded, PlatformError, ToolkitError, UnverifiedError

Kind = Literal["rollback", "promote"]

POLL_S = 0.25
FRESH_S = 3.0  # an older look does not say where production points now
MOST_HOSTS = 5  # of a project with many domains, so many are asked at each look
_VERSIONS: Mapping[Kind, str] = {"rollback": "v1", "promote": "v10"}
_HOPELESS = (401, 403, 404)


class Questions:
    """What is asked of the API again and again. `deadline` is a moment of the monotonic clock."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.project_path = quote(calls.config.project_id, safe="")

    def deployment(self, id_or_host: str, deadline: float | None = None) -> Deployment:
        """One deployment, which must be this project's."""
        path = f"/v13/deployments/{quote(id_or_host, safe='')}"
        found = self._calls.call("GET", path, DeploymentBody, within=left(deadline)).value()
        if self._calls.config.project_id not in (found.project_id or self._calls.config.project_id, found.name):
            raise PlatformError(
                f"Deployment {id_or_host} belongs to another project",
                target=self._calls.target,
                next="check the id, and the project's id in the configuration",
            )
        return found

    def project(self, deadline: float | None = None) -> ProjectState:
        """The project with its latest rollback or promote."""
        path, query = f"/v9/projects/{self.project_path}", {"rollbackInfo": "true"}
        return self._calls.call("GET", path, ProjectBody, query=query, within=left(deadline)).value()

    def production(self, project: ProjectState, deadline: float | None = None) -> list[Deployment]:
        """What production's names lead to: one deployment, unless a switch is half done. Empty without a production."""
        chosen = self._calls.config.production_host
        hosts = (chosen,) if chosen else project.production_hosts[:MOST_HOSTS]
        names = hosts or ((project.production_id,) if project.production_id else ())
        found = [self.deployment(name, deadline) for name in names]
        return list({d.id: d for d in found}.values())


class Switch:
    """One rollback or promote. Not to be used twice."""

    def __init__(self, calls: Calls, kind: Kind, wanted: str, within: float) -> None:
        self._calls, self._questions, self._kind, self._wanted = calls, Questions(calls), kind, wanted
        self._within, self._began = within, time.monotonic()
        self._deadline = self._began + within
        self._earlier: AliasRequest | None = None
        self._seen = ""  # where production pointed at the latest look that succeeded, and when that was
        self._seen_at: float | None = None  # None: no look has succeeded since the switch was asked for
        self._doubt: str | None = None  # why it is not known whether the platform took the wish

    def carry_out(self, query: Mapping[str, str]) -> Switched:
        """Ask, unless it is so already, and look until it is so."""
        before = self._questions.project(self._deadline)
        pointed = self._questions.production(before, self._deadline)
        if [d.id for d in pointed] == [self._wanted]:
            return self._switched(pointed[0], before, previous=None, already=True)
        self._earlier, self._seen = before.last_request, _named(pointed)
        self._ask(query)
        previous = pointed[0].id if len(pointed) == 1 else None
        try:
            found = wait_until(self._look, within=left(self._deadline) or 0, what="production", every=POLL_S)
        except DeadlineExceeded:
            found = None
        if found is None:
            self._give_up()
        return self._switched(*found, previous=previous, already=False)

    def _ask(self, query: Mapping[str, str]) -> None:
        path = f"/{_VERSIONS[self._kind]}/projects/{self._questions.project_path}/{self._kind}/"
        path += quote(self._wanted, safe="")
        try:
            self._calls.call("POST", path, _Anything, query=query, body={}, within=left(self._deadline))
        except VercelRefused as refused:
            if refused.status == 409 and self._under_way():
                return
            if not refused.in_doubt:
                refused.state = f"production points at {self._seen}"
                raise
            self._doubt = refused.what

    def _under_way(self) -> bool:
        """Whether the vendor is busy with this very wish, asked for before (a repeated step, a lost answer)."""
        last = self._questions.project(self._deadline).last_request
        if last is None or (last.type, last.to_id) != (self._kind, self._wanted):
            return False
        self._earlier = None
        return True

    def _look(self) -> tuple[Deployment, ProjectState] | None:
        """The deployment and the project once production points there. Raises when it never will."""
        try:
            project = self._questions.project(self._deadline)
            pointed = self._questions.production(project, self._deadline)
        except VercelRefused as refused:
            if refused.status in _HOPELESS:
                raise
            return None
        self._seen, self._seen_at = _named(pointed), time.monotonic()
        if [d.id for d in pointed] == [self._wanted]:
            return pointed[0], project
        last = project.last_request
        if last and last.to_id == self._wanted and last.status in ("failed", "skipped") and self._is_new(last):
            raise PlatformError(
                f"The {self._kind} to {self._wanted} {'failed' if last.status == 'failed' else 'was skipped'}",
                target=self._calls.target,
                state=f"production points at {self._seen}",
                next="try again, or choose another deployment",
            )
        return None

    def _is_new(self, last: AliasRequest) -> bool:
        return self._earlier is None or last.requested_at > self._earlier.requested_at

    def _switched(self, d: Deployment, project: ProjectState, *, previous: str | None, already: bool) -> Switched:
        told = project.automatic_assignment
        automatic = told if already else False if self._kind == "rollback" else told is not False
        fields = {f.name: getattr(d, f.name) for f in dataclasses.fields(Deployment)}
        return Switched(
            **fields,
            previous=previous,
            already=already,
            automatic_assignment=automatic,
            seconds=time.monotonic() - self._began,
        )

    def _give_up(self) -> NoReturn:
        doubt = f"; {self._doubt}" if self._doubt else ""
        known = self._seen_at is not None and time.monotonic() - self._seen_at <= FRESH_S
        kind: type[ToolkitError] = PlatformError if known else UnverifiedError
        raise kind(
            f"Production does not point at {self._wanted} after {self._within:g} s{doubt}"
            if known
            else f"The {self._kind} was asked for, but it could not be seen whether production points at "
            f"{self._wanted}{doubt}",
            target=self._calls.target,
            state=f"production pointed at {self._seen}; the {self._kind} may still be under way",
            next="ask where production points before trying again",
        )


def left(deadline: float | None) -> float | None:
    """Seconds until a moment of the monotonic clock, never negative; None without one."""
    return None if deadline is None else max(deadline - time.monotonic(), 0)


def _named(deployments: list[Deployment]) -> str:
    return " and ".join(d.id for d in deployments) or "nothing"


class _Anything(BaseModel):
    """An answer whose content says nothing."""

"""The client of Vercel's API: which deployments there are, where production points, and how to point it elsewhere.

Owns the deadline of everything it waits for. A rollback or promote counts as done only when production, asked by its
own names, points at the wanted deployment; a job status is no proof (`skipped`, and silence, end the vendor's own tool
with success). It must never give out the value of a variable, and never repeat a request that could build something
twice.
"""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import httpx

from toolkit.adapters.vercel_calls import Calls, VercelRefused
from toolkit.adapters.vercel_config import VercelConfig
from toolkit.adapters.vercel_switch import POLL_S, Questions, Switch
from toolkit.adapters.vercel_values import (
    AliasRequest,
    CreatedVariable,
    Deployment,
    DeploymentBody,
    DeploymentPage,
    EnvironmentVariable,
    LogLine,
    LogRow,
    ProjectState,
    Switched,
    VariableBody,
    VariableList,
)
from toolkit.clock import wait_until
from toolkit.errors import DeadlineExceeded, PlatformError

__all__ = [
    "AliasRequest",
    "Deployment",
    "EnvironmentVariable",
    "LogLine",
    "ProjectState",
    "Switched",
    "VercelClient",
    "VercelConfig",
    "VercelRefused",
]

PAGE = 100
FAILED_STATES = ("ERROR", "CANCELED", "BLOCKED", "DELETED")


class VercelClient:
    """A client of one project. Use as a context manager, or `close` it. `transport` replaces the network, for tests.

    Every method raises PlatformError (VercelRefused where the API said no) and takes at most `timeout_s` seconds, or
    `within` seconds where it takes that.
    """

    def __init__(self, config: VercelConfig, transport: httpx.BaseTransport | None = None) -> None:
        self._config, self._calls = config, Calls(config, transport)
        self._questions = Questions(self._calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._calls.close()

    # What there is

    def deployments(self, limit: int = 20) -> list[Deployment]:
        """Production deployments, newest first, at most `limit`: live, past, staged and failed ones alike."""
        found: list[Deployment] = []
        query = {"projectId": self._config.project_id, "target": "production"}
        while len(found) < limit:
            query["limit"] = str(min(limit - len(found), PAGE))
            page = self._calls.call("GET", "/v6/deployments", DeploymentPage, query=query)
            found += [body.value() for body in page.deployments]
            if page.pagination.next is None or not page.deployments:
                break
            query["until"] = str(page.pagination.next)
        return found[:limit]

    def deployment(self, id_or_host: str) -> Deployment:
        """One deployment, by its id, its host, or a name that leads to it. VercelRefused 404 for an unknown one."""
        return self._questions.deployment(id_or_host)

    def production(self, host: str) -> Deployment:
        """The deployment that `host`, production's name, leads to now."""
        return self._questions.deployment(host)

    def project(self) -> ProjectState:
        """The project's own account of production, automatic assignment and the latest rollback or promote."""
        return self._questions.project()

    # Where production points

    def rollback(self, deployment_id: str, *, description: str, within: float) -> Switched:
        """Point production at a deployment that once served it, and see it there. Automatic assignment is off then.

        `description` is kept by the vendor (250 characters). Safe to repeat: where production already points there,
        nothing is asked. Raises PlatformError when it does not point there after `within` seconds, or the vendor
        skipped it; UnverifiedError when it was asked for, but nobody could say where production points.
        """
        return Switch(self._calls, "rollback", deployment_id, within).carry_out({"description": description[:250]})

    def promote(self, deployment_id: str, *, within: float) -> Switched:
        """Point production at a finished production deployment, and see it there; undoes a rollback. Raises as that."""
        return Switch(self._calls, "promote", deployment_id, within).carry_out({})

    # New deployments

    def create_deployment(
        self,
        *,
        name: str,
        meta: Mapping[str, str],
        target: Literal["production", "preview"] = "production",
        within: float | None = None,
    ) -> Deployment:
        """Build a new deployment. With `within`, wait until it is READY and live, or staged; else return it QUEUED.

        Never repeated after a lost answer: look at `deployments` before trying again.
        """
        body = {"name": name, "target": target, "meta": dict(meta)}
        return self._built({}, body, within)

    def redeploy(
        self,
        deployment_id: str,
        *,
        target: Literal["production", "preview"] = "production",
        within: float | None = None,
    ) -> Deployment:
        """Build the same code again with the environment of today. Waits and repeats as `create_deployment`."""
        name = self.deployment(deployment_id).name
        body = {"deploymentId": deployment_id, "meta": {"action": "redeploy"}, "name": name, "target": target}
        return self._built({"forceNew": "1"}, body, within)

    def wait_until_built(self, deployment_id: str, *, within: float) -> Deployment:
        """The deployment once it is READY and its names are assigned. `substate` STAGED: built, and not live."""
        deadline = time.monotonic() + within

        def built() -> Deployment | None:
            found = self._questions.deployment(deployment_id, deadline)
            if found.state in FAILED_STATES:
                raise PlatformError(
                    f"Deployment {deployment_id} ended as {found.state}",
                    target=self._calls.target,
                    state="production points where it did",
                    next="read the build's events",
                )
            return found if found.ready and found.alias_assigned else None

        try:
            found = wait_until(built, within=within, what=f"deployment {deployment_id}", every=POLL_S)
        except DeadlineExceeded:
            found = None
        if found is None:
            raise PlatformError(
                f"Deployment {deployment_id} was not built within {within:g} s",
                target=self._calls.target,
                state="it may still be building",
                next=f"ask for deployment {deployment_id} again",
            )
        return found

    # Variables and logs

    def environment(self) -> list[EnvironmentVariable]:
        """The project's variables: names, types and targets; values never."""
        path = f"/v10/projects/{self._questions.project_path}/env"
        return [body.value() for body in self._calls.call("GET", path, VariableList).envs]

    def set_environment(self, key: str, value: str) -> EnvironmentVariable:
        """Set a variable for production; it reaches only deployments built from now on.

        An existing one keeps its type and its targets, and so changes in all of them; a new one is of type `encrypted`.
        """
        old = next((v for v in self.environment() if v.key == key and "production" in v.targets), None)
        if old:
            path = f"/v9/projects/{self._questions.project_path}/env/{quote(old.id, safe='')}"
            return self._calls.call("PATCH", path, VariableBody, body={"value": value}).value()
        new = {"key": key, "value": value, "type": "encrypted", "target": ["production"]}
        path = f"/v10/projects/{self._questions.project_path}/env"
        answer = self._calls.call("POST", path, CreatedVariable, query={"upsert": "true"}, body=new)
        return answer.created.value()

    def runtime_logs(self, deployment_id: str, *, within: float) -> Iterator[LogLine]:
        """What a deployment writes from now on, for `within` seconds (the vendor ends it after 5 minutes).

        Ends quietly at the deadline or when the vendor ends it. Raises at the first line if it cannot be followed.
        """
        path = f"/v1/projects/{self._questions.project_path}/deployments/{quote(deployment_id, safe='')}/runtime-logs"
        for line in self._calls.lines(path, within=within):
            if not line.strip():
                continue
            row = self._calls.parsed_line(LogRow, line)
            if row.source == "delimiter":
                return
            yield row.value()

    # Inside

    def _built(self, query: Mapping[str, str], body: Mapping[str, object], within: float | None) -> Deployment:
        began = time.monotonic()
        made = self._calls.call(
            "POST", "/v13/deployments", DeploymentBody, query=query, body=body, within=within, repeatable=False
        ).value()
        if within is None:
            return made
        return self.wait_until_built(made.id, within=within - (time.monotonic() - began))

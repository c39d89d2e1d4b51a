"""The API's endpoints about deployments: list, one, create, redeploy, build events, runtime logs, aliases."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from toolkit.drill.platform.answers import read_json, truth, validated
from toolkit.drill.platform.listing import list_deployments
from toolkit.drill.platform.logs import delimiter_row
from toolkit.drill.platform.operations import Platform
from toolkit.drill.platform.refusal import Refused
from toolkit.drill.platform.wire import alias_body, aliases_of, build_events, listed, single

LONGEST_STREAM_S = 300.0


class NewDeployment(BaseModel):
    """The body of a create. With `deploymentId`, that deployment's code again; else `meta.schemaVersion` names it."""

    name: str | None = None
    deploymentId: str | None = None
    target: Literal["production", "preview"] | None = None
    meta: dict[str, str] = Field(default_factory=dict)


class DeploymentEndpoints:
    """Bound to one platform; `routes` is what the application mounts."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._project = platform.project

    @property
    def routes(self) -> list[Route]:
        logs = "/v1/projects/{project}/deployments/{deployment}/runtime-logs"
        return [
            Route("/v6/deployments", self.deployments, methods=["GET"]),
            Route("/v7/deployments", self.deployments, methods=["GET"]),
            Route("/v13/deployments", self.create, methods=["POST"]),
            Route("/v13/deployments/{deployment}", self.get, methods=["GET"]),
            Route("/v3/deployments/{deployment}/events", self.events, methods=["GET"]),
            Route("/v3/now/deployments/{deployment}/events", self.events, methods=["GET"]),
            Route("/v11/deployments/{deployment}/builds", self.builds, methods=["GET"]),
            Route("/v2/deployments/{deployment}/aliases", self.deployment_aliases, methods=["GET"]),
            Route("/v4/aliases", self.aliases, methods=["GET"]),
            Route("/v3/now/aliases", self.aliases, methods=["GET"]),
            Route("/v4/aliases/{alias}", self.alias, methods=["GET"]),
            Route(logs, self.runtime_logs, methods=["GET"]),
        ]

    async def deployments(self, request: Request) -> Response:
        page = list_deployments(self._project, request.query_params)
        entries = [listed(self._project, d) for d in page.deployments]
        return JSONResponse({"deployments": entries, "pagination": page.pagination})

    async def get(self, request: Request) -> Response:
        return JSONResponse(single(self._project, self._project.find(request.path_params["deployment"])))

    async def create(self, request: Request) -> Response:
        body = validated(NewDeployment, await read_json(request))
        if body.deploymentId:
            made = self._platform.recreate(body.deploymentId, body.meta, body.target)
        else:
            if body.name != self._project.identity.name:
                raise Refused(400, "bad_request", "Invalid request: `name` should be the name of the project.")
            made = self._platform.create(body.meta, body.target or "preview")
        return JSONResponse(single(self._project, made))

    async def events(self, request: Request) -> Response:
        """Build events: an array, or one object a line where `format=lines` or `follow=1` asks for it."""
        events = build_events(self._project.find(request.path_params["deployment"]))
        if request.query_params.get("direction") == "backward":
            events.reverse()
        if request.query_params.get("format") == "lines" or truth(request.query_params.get("follow")):
            lines = "".join(json.dumps(event) + "\n" for event in events)
            return Response(lines, media_type="application/stream+json")
        return JSONResponse(events)

    async def builds(self, request: Request) -> Response:
        self._project.find(request.path_params["deployment"])
        return JSONResponse({"builds": []})

    async def deployment_aliases(self, request: Request) -> Response:
        found = self._project.find(request.path_params["deployment"])
        bodies = [alias_body(self._project, n, found, created_ms=found.created_ms) for n in self._names(found.id)]
        return JSONResponse({"aliases": bodies})

    async def aliases(self, request: Request) -> Response:
        live = self._project.production
        names = self._names(live.id) if live else []
        bodies = [alias_body(self._project, n, live, created_ms=live.created_ms) for n in names] if live else []
        return JSONResponse({"aliases": bodies, "pagination": {"count": len(bodies), "next": None, "prev": None}})

    async def alias(self, request: Request) -> Response:
        name = request.path_params["alias"].removeprefix("als_")
        found = self._project.find(name)
        if name == found.id:
            raise Refused(404, "not_found", "The alias could not be found.")
        return JSONResponse(alias_body(self._project, name, found, created_ms=found.created_ms))

    async def runtime_logs(self, request: Request) -> Response:
        self._check_project(request)
        found = self._project.find(request.path_params["deployment"])
        return StreamingResponse(self._follow(found.id), media_type="application/stream+json")

    async def _follow(self, deployment_id: str) -> AsyncIterator[str]:
        """Rows from now on, one a line, for as long as the vendor allows."""
        ends = time.monotonic() + LONGEST_STREAM_S
        with self._platform.logs.follow(deployment_id) as follower:
            yield ""  # the answer's head goes out at once, so that the caller knows that it is following
            while True:
                try:
                    row = await asyncio.wait_for(follower.get(), ends - time.monotonic())
                except TimeoutError:
                    row = delimiter_row(self._project.identity.aliases[0], int(LONGEST_STREAM_S / 60))
                    yield json.dumps(row) + "\n"
                    return
                if row is None:
                    return
                yield json.dumps(row) + "\n"

    def _names(self, deployment_id: str) -> list[str]:
        return aliases_of(self._project, self._project.find(deployment_id))

    def _check_project(self, request: Request) -> None:
        if request.path_params["project"] not in (self._project.identity.project_id, self._project.identity.name):
            raise Refused(404, "not_found", "Project not found.")

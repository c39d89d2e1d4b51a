"""The REST API as one ASGI application: the gate in front, the endpoints behind, the vendor's error body for a no."""

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolkit.drill.platform.answers import read_json, refusal_response, validated
from toolkit.drill.platform.deployment_endpoints import DeploymentEndpoints
from toolkit.drill.platform.edge_config import READ_PATH, EdgeConfig
from toolkit.drill.platform.gate import CONTROL_PATH, Defect, Limit, Misbehaviour
from toolkit.drill.platform.operations import Platform
from toolkit.drill.platform.project_endpoints import ProjectEndpoints
from toolkit.drill.platform.refusal import Refused
from toolkit.drill.platform.wire import USER_ID, USERNAME


def api_application(platform: Platform) -> ASGIApp:
    """The API server's application."""
    routes = [
        *DeploymentEndpoints(platform).routes,
        *ProjectEndpoints(platform).routes,
        *_Account(platform).routes,
        *_Control(platform).routes,
        *EdgeConfig(platform.config).routes,
    ]
    handlers = {Refused: _refused, HTTPException: _no_such_endpoint, Exception: _unexpected}
    return Guarded(Starlette(routes=routes, exception_handlers=handlers), platform)  # type: ignore[arg-type]


class Guarded:
    """Lets a request through only with the token, for the right team, within the limit, and if no order spoils it."""

    def __init__(self, inner: ASGIApp, platform: Platform) -> None:
        self._inner, self._gate = inner, platform.gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        request = Request(scope)
        try:
            headers, order = self._admit(request)
        except Refused as refused:
            await refusal_response(refused)(scope, receive, send)
            return
        if order and order.answer == "garbage":
            await Response("<html>Something went wrong", media_type="text/html")(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(order.hang_s if order else 0)
                extra = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self._inner(scope, receive, send_with_limits)

    def _admit(self, request: Request) -> tuple[dict[str, str], Misbehaviour | None]:
        """The headers to add, and how to misbehave, if at all. Raises Refused."""
        if READ_PATH.fullmatch(request.url.path):  # of the Edge Config, which has a token of its own
            return {}, None
        self._gate.check_token(request.headers.get("authorization"))
        if request.url.path.startswith(CONTROL_PATH):
            return {}, None
        self._gate.check_team(request.query_params)
        headers = self._gate.count()
        return headers, self._gate.misbehave(request.url.path)


class _Account:
    """Who is calling, and which team: what the official client asks first."""

    def __init__(self, platform: Platform) -> None:
        self._identity = platform.project.identity

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/v2/user", self.user, methods=["GET"]),
            Route("/teams/{team}", self.team, methods=["GET"]),
            Route("/v2/teams/{team}", self.team, methods=["GET"]),
            Route("/v1/teams", self.teams, methods=["GET"]),
            Route("/v2/teams", self.teams, methods=["GET"]),
        ]

    async def user(self, request: Request) -> Response:
        user = {
            "id": USER_ID,
            "email": f"{USERNAME}@example.com",
            "username": USERNAME,
            "name": USERNAME,
            "version": "northstar",
            "defaultTeamId": self._identity.team_id,
        }
        return JSONResponse({"user": user})

    async def team(self, request: Request) -> Response:
        if request.path_params["team"] not in (self._identity.team_id, self._identity.team_slug):
            raise Refused(404, "not_found", "The team could not be found.")
        return JSONResponse(self._team())

    async def teams(self, request: Request) -> Response:
        return JSONResponse({"teams": [self._team()], "pagination": {"count": 1, "next": None, "prev": None}})

    def _team(self) -> dict[str, object]:
        slug = self._identity.team_slug
        return {"id": self._identity.team_id, "slug": slug, "name": slug, "billing": {"plan": self._identity.plan}}


class _Control:
    """The stand-in's own endpoints; `gate` describes them."""

    def __init__(self, platform: Platform) -> None:
        self._platform, self._gate = platform, platform.gate

    @property
    def routes(self) -> list[Route]:
        return [
            Route(CONTROL_PATH + "misbehave", self.misbehave, methods=["POST"]),
            Route(CONTROL_PATH + "misbehave", self.behave, methods=["DELETE"]),
            Route(CONTROL_PATH + "limit", self.limit, methods=["PUT"]),
            Route(CONTROL_PATH + "defect", self.defect, methods=["PUT"]),
            Route(CONTROL_PATH + "processes", self.processes, methods=["GET"]),
        ]

    async def misbehave(self, request: Request) -> Response:
        self._gate.orders.append(validated(Misbehaviour, await read_json(request)))
        return JSONResponse({}, 201)

    async def behave(self, request: Request) -> Response:
        self._gate.orders.clear()
        return JSONResponse({})

    async def limit(self, request: Request) -> Response:
        self._gate.set_limit(validated(Limit, await read_json(request)))
        return JSONResponse({})

    async def defect(self, request: Request) -> Response:
        self._platform.next_defect = validated(Defect, await read_json(request)).defect
        return JSONResponse({})

    async def processes(self, request: Request) -> Response:
        return JSONResponse({"running": self._platform.fleet.running})


async def _refused(request: Request, refused: Refused) -> Response:
    return refusal_response(refused)


async def _no_such_endpoint(request: Request, error: HTTPException) -> Response:
    code = "not_found" if error.status_code == 404 else "method_not_allowed"
    return refusal_response(Refused(error.status_code, code, str(error.detail)))


async def _unexpected(request: Request, error: Exception) -> Response:
    return refusal_response(Refused(500, "internal_server_error", "An unexpected internal error occurred"))

"""The platform's Edge Config: a small store that is written through the API and read by deployments, at once.

Written with the platform's token, in batches that hold whole or not at all. Read by its own token, which lets nobody
write, at `/<store>/item/<key>`: the vendor serves that from a host of its own.
"""

import hmac
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toolkit.drill.platform.answers import read_json, validated
from toolkit.drill.platform.config import PlatformConfig
from toolkit.drill.platform.operations import now_ms
from toolkit.drill.platform.refusal import Refused

READ_PATH = re.compile(r"/ecfg_[^/]+/item/[^/]+")


class _Operation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    operation: Literal["create", "update", "upsert", "delete"]
    key: str = Field(pattern=r"^[\w-]+$", max_length=256)
    value: Any = None


class _Batch(BaseModel):
    items: list[_Operation]


class EdgeConfig:
    """One store; `routes` is what the application mounts."""

    def __init__(self, config: PlatformConfig) -> None:
        self._id, self._token = config.edge_config, config.edge_config_token
        self._items: dict[str, Any] = {}

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/v1/edge-config/{store}/items", self.change, methods=["PATCH"]),
            Route("/v1/edge-config/{store}/items", self.all, methods=["GET"]),
            Route("/{store:str}/item/{key:str}", self.read, methods=["GET"]),
        ]

    async def change(self, request: Request) -> Response:
        self._require(request.path_params["store"])
        after = dict(self._items)
        for each in validated(_Batch, await read_json(request)).items:
            known = each.key in after
            if each.operation != "upsert" and known is (each.operation == "create"):
                there = "is there already" if known else "is not there"
                raise Refused(400 if known else 404, "edge_config_key", f"The key {each.key} {there}.")
            if each.operation == "delete":
                del after[each.key]
            else:
                after[each.key] = each.value
        self._items = after
        return JSONResponse({"status": "ok"})

    async def all(self, request: Request) -> Response:
        self._require(request.path_params["store"])
        at = now_ms()
        items = [{"key": key, "value": value, "edgeConfigId": self._id} for key, value in self._items.items()]
        return JSONResponse([each | {"createdAt": at, "updatedAt": at} for each in items])

    async def read(self, request: Request) -> Response:
        """The value itself. 401 without the reading token, 404 for a key that is not there."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._token is None or not hmac.compare_digest(given.encode(), self._token.get_secret_value().encode()):
            return JSONResponse({"error": {"code": "unauthorized", "message": "Invalid token"}}, 401)
        key = request.path_params["key"]
        if request.path_params["store"] != self._id or key not in self._items:
            raise Refused(404, "edge_config_item_not_found", "The item was not found.")
        return JSONResponse(self._items[key])

    def _require(self, store: str) -> None:
        if store != self._id:
            raise Refused(404, "not_found", "The Edge Config was not found.")

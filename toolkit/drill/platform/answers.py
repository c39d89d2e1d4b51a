"""How the API's endpoints take requests and give answers: JSON in and out, the vendor's errors, one shape everywhere.

It knows HTTP and Starlette, and nothing of deployments.
"""

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolkit.drill.platform.refusal import Refused

JSON = dict[str, object]
Model = TypeVar("Model", bound=BaseModel)
Endpoint = Callable[[Request], Awaitable[Response]]


def refusal_response(refused: Refused) -> Response:
    """The vendor's error body; with Retry-After where it says when to come back."""
    body, headers = refused.body(), {}
    if refused.status == 429:
        seconds = refused.extra.get("retryAfter", 1)
        headers = {"Retry-After": str(seconds), "X-RateLimit-Remaining": "0"}
    return JSONResponse(body, refused.status, headers)


async def read_json(request: Request) -> JSON:
    """The request's body, an object. Refused 400 for anything else; an empty body is an empty object."""
    body = await read_objects(request)
    if not isinstance(body, dict):
        raise Refused(400, "bad_request", "Invalid request: the body should be object.")
    return body


async def read_objects(request: Request) -> JSON | list[object]:
    """The request's body, an object or an array. Refused 400 for anything else."""
    raw = await request.body()
    try:
        body = json.loads(raw) if raw.strip() else {}
    except ValueError:
        body = None
    if not isinstance(body, dict | list):
        raise Refused(400, "bad_request", "Invalid JSON")
    return body


def validated(model: type[Model], body: object) -> Model:
    """The body as a model. Refused 400, which names the wrong field and never shows its value."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "body"
        raise Refused(400, "bad_request", f"Invalid request: `{name}`: {first['msg']}.") from None


def truth(text: str | None) -> bool:
    """Whether a query parameter says yes."""
    return (text or "").lower() in ("true", "1")

"""Who may pass, how often, and when the API is to misbehave: what comes before every endpoint.

The control path below is the stand-in's own; the vendor has no such thing. It needs the token like all others, and is
never limited or spoiled itself.

    POST   /stand-in/misbehave  {"answer": 500 | 429 | "hang" | "garbage" | "skipped" | "failed", "count": 1,
                                 "path": "/v6/", "retry_after_s": 1, "hang_s": 30}
    PUT    /stand-in/limit      {"requests": 10, "window_s": 60}, or {"requests": null} for none
    DELETE /stand-in/misbehave  forget what was ordered
    PUT    /stand-in/defect     {"defect": a name of those below, or ""}: in the code built next
    GET    /stand-in/processes  {"running": {deployment id: process id}}

The next `count` requests whose path contains `path` (all, without it) get that answer: `hang` carries the request out
and keeps the answer back, `garbage` is no JSON. `skipped` and `failed` are instead how the next `count` alias requests
end.
"""

import hmac
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from toolkit.drill.platform.refusal import Refused

CONTROL_PATH = "/stand-in/"
Spoiled = Literal["failed", "skipped"]


class Misbehaviour(BaseModel):
    """One order to misbehave. `retry_after_s` and `hang_s` are seconds."""

    model_config = ConfigDict(extra="forbid")

    answer: Literal[500, 429, "hang", "garbage", "skipped", "failed"]
    count: int = Field(default=1, ge=1)
    path: str = ""
    retry_after_s: int = Field(default=1, ge=0)
    hang_s: float = Field(default=30.0, ge=0)


class Defect(BaseModel):
    """What is wrong in the code that is built next; nothing for ''."""

    model_config = ConfigDict(extra="forbid")

    defect: Literal["payments-crash", "everything-crashes", "webhooks-refused", ""]


class Limit(BaseModel):
    """So many requests in each window of so many seconds; None is no limit."""

    model_config = ConfigDict(extra="forbid")

    requests: int | None = Field(default=None, ge=0)
    window_s: float = Field(default=60.0, gt=0)


@dataclass
class Gate:
    """Checks a request's token and team, counts it, and says whether to misbehave. Raises Refused."""

    token: SecretStr
    team_id: str
    team_slug: str
    limit: Limit = field(default_factory=Limit)
    orders: list[Misbehaviour] = field(default_factory=list)
    _used: int = 0
    _window_ends: float = 0.0

    def check_token(self, authorization: str | None) -> None:
        """Refused 401 without a bearer token, 403 with a wrong one."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Refused(401, "forbidden", "The request is missing an authentication token", {"missingToken": True})
        if not hmac.compare_digest(given.strip().encode(), self.token.get_secret_value().encode()):
            raise Refused(403, "forbidden", "Not authorized", {"invalidToken": True})

    def check_team(self, query: Mapping[str, str]) -> None:
        """Refused 403 for another team than the project's."""
        if query.get("teamId", self.team_id) != self.team_id or query.get("slug", self.team_slug) != self.team_slug:
            raise Refused(403, "forbidden", "Not authorized: Trying to access resource under another scope.")

    def count(self) -> dict[str, str]:
        """Count one request; the headers that tell what is left. Refused 429 when nothing is."""
        if self.limit.requests is None:
            return {}
        now = time.monotonic()
        if now >= self._window_ends:
            self._used, self._window_ends = 0, now + self.limit.window_s
        seconds = max(self._window_ends - now, 0.0)
        if self._used >= self.limit.requests:
            raise _too_many(self.limit.requests, math.ceil(seconds))
        self._used += 1
        return {
            "X-RateLimit-Limit": str(self.limit.requests),
            "X-RateLimit-Remaining": str(self.limit.requests - self._used),
            "X-RateLimit-Reset": str(math.ceil(time.time() + seconds)),
        }

    def set_limit(self, limit: Limit) -> None:
        """Use this limit from now on, with a fresh window."""
        self.limit, self._used, self._window_ends = limit, 0, 0.0

    def misbehave(self, path: str) -> Misbehaviour | None:
        """What to answer instead of serving this path; None to serve it. Raises Refused for 429 and 500."""
        order = self._take(lambda o: o.answer not in ("skipped", "failed") and o.path in path)
        if order and order.answer == 429:
            raise _too_many(120, order.retry_after_s)
        if order and order.answer == 500:
            raise Refused(500, "internal_server_error", "An unexpected internal error occurred")
        return order

    def spoil_alias_request(self) -> Spoiled | None:
        """How this alias request is to end instead of succeeding; None to let it succeed."""
        order = self._take(lambda o: o.answer in ("skipped", "failed"))
        return order.answer if order and order.answer in ("skipped", "failed") else None

    def _take(self, fits: Callable[[Misbehaviour], bool]) -> Misbehaviour | None:
        for order in self.orders:
            if fits(order):
                order.count -= 1
                if order.count == 0:
                    self.orders.remove(order)
                return order
        return None


def _too_many(total: int, seconds: int) -> Refused:
    reset = time.time() + seconds
    limit = {"remaining": 0, "reset": math.ceil(reset), "resetMs": int(reset * 1000), "total": total}
    return Refused(429, "rate_limited", "Rate limit exceeded", {"limit": limit, "retryAfter": seconds})

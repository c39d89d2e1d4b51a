"""What the runtime logs tell of the service's requests: how many, how many failed and how, how long they took.

A service that prints one JSON object a request (method, path, status, ms, error) is read in full; of any other, the
platform's own columns are taken, which know no latency. The toolkit's own requests and the health endpoints are left
out: they would dilute what they measure. Payloads and values are never kept.
"""

import math
import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.adapters.vercel import LogLine

OWN_REQUESTS = "toolkit-"
SERVER_ERROR = 500
_PART_THAT_VARIES = re.compile(r"(?<=/)(?:\d+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\w*\d{4,}\w*)(?=/|$)")


@dataclass(frozen=True)
class ErrorClass:
    """How requests failed: alike in everything that is told here. No rows, no values."""

    status: int
    path: str
    sqlstate: str | None = None
    constraint: str | None = None
    relation: str | None = None
    column: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class LoggedRequest:
    """One request that the service answered. `arrived_s` is when its line came, on the monotonic clock."""

    arrived_s: float
    method: str
    path: str
    status: int
    ms: float | None = None
    event_type: str | None = None
    error: ErrorClass | None = None

    @property
    def failed(self) -> bool:
        """The service's fault: 5xx. A refused signature is not."""
        return self.status >= SERVER_ERROR


@dataclass(frozen=True)
class PathTraffic:
    """The requests to one path. `succeeded` were answered with a 2xx."""

    path: str
    requests: int
    failed: int
    succeeded: int


@dataclass(frozen=True)
class Traffic:
    """The requests of one window. Latencies in milliseconds; None where no request told its own.

    `errors` are error classes with their counts; they and `paths` have the most frequent first. `latencies` are all of
    them, ascending.
    """

    window_s: float
    requests: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    errors: tuple[tuple[ErrorClass, int], ...] = ()
    paths: tuple[PathTraffic, ...] = ()
    latencies: tuple[float, ...] = field(default=(), repr=False)

    def slower_than(self, ms: float) -> int:
        """How many requests took longer."""
        return len(self.latencies) - bisect_right(self.latencies, ms)

    @property
    def error_rate(self) -> float | None:
        """Failed by all, 0 to 1; None without a request."""
        return self.failed / self.requests if self.requests else None

    @property
    def rate_per_s(self) -> float:
        return self.requests / self.window_s if self.window_s > 0 else 0.0

    def succeeded_at(self, path: str) -> int:
        """How many requests to this path were answered with a 2xx."""
        return sum(each.succeeded for each in self.paths if each.path == path)

    def steady_state(self) -> dict[str, float | int | None]:
        """As JSON: {window_s, requests, failed, error_rate, p50_ms, p95_ms, rate_per_s}."""
        rate = self.error_rate
        return {
            "window_s": round(self.window_s, 1),
            "requests": self.requests,
            "failed": self.failed,
            "error_rate": None if rate is None else round(rate, 4),
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
            "rate_per_s": round(self.rate_per_s, 1),
        }

    def errors_as_json(self, most: int = 5) -> list[dict[str, object]]:
        """The most frequent error classes with their counts."""
        return [vars(error) | {"count": count} for error, count in self.errors[:most]]


class _Failure(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sqlstate: str | None = None
    constraint: str | None = None
    relation: str | None = None
    column: str | None = None
    message: str | None = None


class _Line(BaseModel):
    """A request as the service prints it; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    method: str
    path: str
    status: int
    ms: float | None = None
    request_id: str | None = None
    event_type: str | None = None
    error: _Failure | None = None


@dataclass(frozen=True)
class Reader:
    """Reads log lines as requests; `ignore` are the paths that are not counted, without their queries."""

    ignore: Collection[str] = field(default=())

    def read(self, line: LogLine) -> LoggedRequest | None:
        """The request that a line tells of; None for a line of another kind and for requests that do not count."""
        return self._counted(_parse(line))

    def read_text(self, line: str) -> LoggedRequest | None:
        """The same for a line of a service's own log."""
        try:
            return self._counted(_Line.model_validate_json(line))
        except ValidationError:
            return None

    def _counted(self, told: "_Line | None") -> LoggedRequest | None:
        if told is None or (told.request_id or "").startswith(OWN_REQUESTS):
            return None
        path = told.path.partition("?")[0]
        if path in self.ignore:
            return None
        alike = _PART_THAT_VARIES.sub("…", path)
        error = None
        if told.status >= SERVER_ERROR:
            error = ErrorClass(told.status, alike, **(told.error.model_dump() if told.error else {}))
        return LoggedRequest(time.monotonic(), told.method, alike, told.status, told.ms, told.event_type, error)


def summarise(requests: Iterable[LoggedRequest], window_s: float) -> Traffic:
    """The figures of one window."""
    seen = list(requests)
    failed = [request for request in seen if request.failed]
    latencies = sorted(request.ms for request in seen if request.ms is not None)
    count, bad, good = (
        Counter(request.path for request in some)
        for some in (seen, failed, (request for request in seen if 200 <= request.status < 300))
    )
    return Traffic(
        window_s=window_s,
        requests=len(seen),
        failed=len(failed),
        p50_ms=percentile(latencies, 0.5),
        p95_ms=percentile(latencies, 0.95),
        errors=tuple(Counter(request.error for request in failed if request.error).most_common()),
        paths=tuple(PathTraffic(path, number, bad[path], good[path]) for path, number in count.most_common()),
        latencies=tuple(latencies),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of them do not exceed; None of nothing. `ordered` is ascending."""
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)


def _parse(line: LogLine) -> _Line | None:
    try:
        return _Line.model_validate_json(line.message)
    except ValidationError:
        if line.status is None or not line.path:
            return None
        return _Line(method=line.method, path=line.path, status=line.status)

"""Where the time of a request goes, in the words of `curl -w`: connected, secured, first byte, total.

It reads the trace events of httpcore. What a transport does not report stays None; nothing is guessed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True)
class Timing:
    """One request over a connection of its own. Milliseconds since its start, as curl counts; None = not known.

    `name_lookup_ms` is never known here: httpcore looks the name up inside its connecting, so `connect_ms` holds both.
    `tls_ms` is None without TLS. Without a whole answer `error` names the kind of failure and `total_ms` is how long it
    took to fail.
    """

    status_code: int | None
    name_lookup_ms: float | None
    connect_ms: float | None
    tls_ms: float | None
    first_byte_ms: float | None
    total_ms: float
    error: str | None


@dataclass
class Stopwatch:
    """Times one request. Not to be used twice."""

    started: float = field(default_factory=time.monotonic)
    marks: dict[str, float] = field(default_factory=dict)

    def time(self, client: httpx.Client, path: str, *, limit_bytes: int, limit_s: float) -> Timing:
        """GET the path, read at most `limit_bytes` of its body for `limit_s` seconds. Never raises for an outage."""
        status, error, size = None, None, 0
        try:
            with client.stream("GET", path, extensions={"trace": self._note}) as response:
                status = response.status_code
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if size > limit_bytes:
                        break
                    if self._ms() > limit_s * 1000:
                        error = "TotalTimeout"
                        break
        except httpx.HTTPError as failure:
            error = type(failure).__name__
        return Timing(
            status_code=status,
            name_lookup_ms=None,
            connect_ms=self.marks.get("connection.connect_tcp.complete"),
            tls_ms=self.marks.get("connection.start_tls.complete"),
            first_byte_ms=self.marks.get("http11.receive_response_headers.complete"),
            total_ms=self._ms(),
            error=error,
        )

    def _note(self, name: str, _info: Mapping[str, object]) -> None:
        self.marks.setdefault(name, self._ms())

    def _ms(self) -> float:
        return (time.monotonic() - self.started) * 1000

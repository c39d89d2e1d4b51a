"""Where the time of a request goes, in the words of `curl -w`: name lookup, connected, secured, first byte, total.

httpcore does not tell the lookup apart, so the name is looked up here and the request sent to what was found; the rest
is read from its trace events. What a transport does not report stays None; nothing is guessed.
"""

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

import httpx


@dataclass(frozen=True)
class Timing:
    """One request over a connection of its own. Milliseconds since its start, as curl counts; None = not known.

    `name_lookup_ms` is None for an address, and where a proxy looks the name up. `tls_ms` is None without TLS. Without
    a whole answer `error` names the kind of failure and `total_ms` is how long it took to fail.
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

    def time(
        self, client: httpx.Client, path: str, *, limit_bytes: int, limit_s: float, looks_up: bool = True
    ) -> Timing:
        """GET the path, read at most `limit_bytes` of its body for `limit_s` seconds. Never raises for an outage.

        Without `looks_up` the name is left to the transport, and its lookup is not known.
        """
        status, error, size = None, None, 0
        try:
            with contextlib.closing(self._send(client, path, looks_up)) as response:
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
            name_lookup_ms=self.marks.get("name_lookup.complete"),
            connect_ms=self.marks.get("connection.connect_tcp.complete"),
            tls_ms=self.marks.get("connection.start_tls.complete"),
            first_byte_ms=self.marks.get("http11.receive_response_headers.complete"),
            total_ms=self._ms(),
            error=error,
        )

    def _send(self, client: httpx.Client, path: str, looks_up: bool) -> httpx.Response:
        """To the first address that takes a connection, as the transport itself would."""
        request = client.build_request("GET", path, extensions={"trace": self._note})
        *others, last = self._by_address(request) if looks_up else [request]
        for each in others:
            with contextlib.suppress(httpx.ConnectError):
                return client.send(each, stream=True)
        return client.send(last, stream=True)

    def _by_address(self, request: httpx.Request) -> Iterator[httpx.Request]:
        """The request for each address of its host; the name stays in its headers and in the certificate's check."""
        host = request.url.host
        if _is_address(host):
            yield request
            return
        try:
            found = socket.getaddrinfo(host, request.url.port, type=socket.SOCK_STREAM)
        except OSError as failure:
            raise httpx.ConnectError(str(failure), request=request) from failure
        self._note("name_lookup.complete", {})
        for address in dict.fromkeys(str(entry[4][0]) for entry in found):
            url = request.url.copy_with(host=address)
            named = dict(request.extensions) | {"sni_hostname": host}
            yield httpx.Request("GET", url, headers=request.headers, extensions=named)

    def _note(self, name: str, _info: Mapping[str, object]) -> None:
        self.marks.setdefault(name, self._ms())

    def _ms(self) -> float:
        return (time.monotonic() - self.started) * 1000


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

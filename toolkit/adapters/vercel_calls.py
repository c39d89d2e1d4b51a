"""One call to Vercel's API: in time, repeated only where that is safe, and every failure turned into a PlatformError.

It owns the connection and the token. The token goes into one header and nowhere else: errors are raised outside the
`except` that met them, so that not even a traceback's frames lead back to the request.
"""

import contextlib
import json
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import httpcore
import httpx
from pydantic import BaseModel, ValidationError

from toolkit.adapters.vercel_config import VercelConfig, is_here
from toolkit.errors import PlatformError

Model = TypeVar("Model", bound=BaseModel)

LARGEST_ANSWER = 32 * 1024 * 1024  # bytes
ATTEMPTS = 4
_TIME_IS_UP = "time is up"
_CLOSE_S = 0.05  # the read timeout and the cut come at the same moment, in either order
# A connection for each call, so that its deadline can shut down the very one that it uses.
_ONE_FOR_EACH = httpx.Limits(max_keepalive_connections=0)
_PAUSES_S = (0.25, 0.5, 1.0)


class VercelRefused(PlatformError):
    """The API answered with an error, or not at all. `status` is HTTP's (None without an answer), `code` the vendor's.

    `in_doubt`: what was asked for may have been carried out all the same.
    """

    status: int | None = None
    code: str | None = None
    in_doubt: bool = False


@dataclass
class _Outcome:
    """What one attempt met: an answer, or the kind of failure and whether the request may have been carried out."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: str | None = None
    sent: bool = True


class Calls:
    """Calls with a deadline. Raises PlatformError; VercelRefused when the API itself said no."""

    def __init__(self, config: VercelConfig, transport: httpx.BaseTransport | None) -> None:
        self.config = config
        self.target = f"Vercel project {config.project_id}"
        host = urlsplit(config.api_url).hostname or ""
        self._client = httpx.Client(
            base_url=config.api_url,
            headers={
                "Authorization": f"Bearer {config.token.get_secret_value()}",
                "User-Agent": "rollback-drills",
                "Accept": "application/json",
            },
            transport=transport,
            trust_env=not is_here(host),  # a proxy of the environment is for the world, not for this machine
            follow_redirects=False,
            limits=_ONE_FOR_EACH,
        )
        weakref.finalize(self, self._client.close)  # whoever forgets leaves no socket behind

    def close(self) -> None:
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        model: type[Model],
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        within: float | None = None,
        repeatable: bool = True,
    ) -> Model:
        """The answer as `model`. At most `timeout_s` seconds, and at most `within`.

        429 and a connection that was never made are tried again; 5xx and lost answers only when `repeatable`.
        """
        self._require_set()
        deadline = time.monotonic() + min(self.config.timeout_s, within if within is not None else float("inf"))
        for attempt in range(ATTEMPTS):
            outcome = self._attempt(method, path, query or {}, body, deadline)
            pause = self._pause(outcome, attempt, repeatable)
            if pause is None or time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
        if outcome.failure or outcome.status is None or not 200 <= outcome.status < 300:
            raise self._error(method, path, outcome)
        return self._parsed(model, outcome.body, f"{method} {path}")

    def lines(self, path: str, *, within: float) -> Iterator[str]:
        """The lines of a stream as they come, for at most `within` seconds, however slowly or quickly they come."""
        self._require_set()
        deadline = time.monotonic() + within
        broke: str | None = None
        refused: _Outcome | None = None
        try:
            with self._open("GET", path, {}, None, deadline) as response:
                if response.status_code != 200:
                    body = b"".join(_bounded(response, deadline))
                    refused = _Outcome(response.status_code, response.headers, body)
                else:
                    for line in response.iter_lines():
                        if time.monotonic() >= deadline:
                            return
                        yield line
        except httpx.HTTPError as error:
            broke = type(error).__name__
        if refused:
            raise self._error("GET", path, refused)
        if broke and time.monotonic() < deadline:
            raise self._error("GET", path, _Outcome(failure=broke))

    def parsed_line(self, model: type[Model], line: str) -> Model:
        """One line of a stream as `model`."""
        return self._parsed(model, line.encode(), "a line of the stream")

    # Inside

    def _require_set(self) -> None:
        if not self.config.hosted:
            raise PlatformError("The playbook names no hosting platform for this target", state="nothing was asked")
        if unset := self.config.unset:
            said = f"{', '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set"
            raise PlatformError(f"The platform cannot be asked: {said}", next="export what is missing, then repeat it")

    def _attempt(self, method: str, path: str, query: Mapping[str, str], body: object, deadline: float) -> _Outcome:
        if time.monotonic() >= deadline:
            return _Outcome(failure=_TIME_IS_UP, sent=False)
        try:
            with self._open(method, path, query, body, deadline) as response:
                return _Outcome(response.status_code, response.headers, b"".join(_bounded(response, deadline)))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return _Outcome(failure=type(error).__name__, sent=False)
        except (httpx.HTTPError, httpx.InvalidURL, _TooMuch) as error:
            late = time.monotonic() >= deadline - _CLOSE_S
            return _Outcome(failure=_TIME_IS_UP if late else type(error).__name__)

    @contextlib.contextmanager
    def _open(
        self, method: str, path: str, query: Mapping[str, str], body: object, deadline: float
    ) -> Iterator[httpx.Response]:
        """Send, and cut the connection at the deadline: a read timeout begins again with every byte that comes."""
        watch = _Watch()
        left = max(deadline - time.monotonic(), 0.001)
        timer = threading.Timer(left, watch.shut)
        timer.daemon = True
        timer.start()
        query = {**query, **({"teamId": self.config.team_id} if self.config.team_id else {})}
        extensions = {"trace": watch.note}
        try:
            with self._client.stream(
                method, path, params=query, json=body, timeout=left, extensions=extensions
            ) as response:
                yield response
        finally:
            timer.cancel()

    def _pause(self, outcome: _Outcome, attempt: int, repeatable: bool) -> float | None:
        """Seconds before the next attempt; None when there is to be none."""
        if attempt == ATTEMPTS - 1:
            return None
        if outcome.status == 429:
            return _retry_after(outcome.headers) or _PAUSES_S[attempt]
        failed = outcome.failure is not None or (outcome.status or 0) >= 500
        return _PAUSES_S[attempt] if failed and (repeatable or not outcome.sent) else None

    def _error(self, method: str, path: str, outcome: _Outcome) -> VercelRefused:
        asked = f"{method} {path}"
        doubt = method != "GET" and outcome.sent and (outcome.failure is not None or (outcome.status or 0) >= 500)
        state = "it is not known whether it was carried out" if doubt else None
        if outcome.failure:
            error = VercelRefused(
                f"{asked} got no answer ({outcome.failure})",
                target=self.target,
                state=state,
                next="check the network and the platform's status page, then try again",
            )
            error.in_doubt = doubt
            return error
        code, message = _vendor_error(outcome.body)
        said = f": {self._without_token(message)}" if message else ""
        error = VercelRefused(
            f"{asked} was answered with {outcome.status}{f' ({code})' if code else ''}{said}",
            target=self.target,
            state=state,
            next=_advice(outcome),
        )
        error.status, error.code, error.in_doubt = outcome.status, code, doubt
        return error

    def _parsed(self, model: type[Model], body: bytes, what: str) -> Model:
        wrong: str | None = None
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            wrong = f"{'.'.join(map(str, first['loc'])) or 'the answer'}: {first['msg']}"
        raise PlatformError(
            f"The answer to {what} is not what the vendor documents ({self._without_token(wrong)})",
            target=self.target,
            next="check that the configured address is the platform's API",
        )

    def _without_token(self, text: str) -> str:
        return text.replace(self.config.token.get_secret_value(), "***")[:300]


class _TooMuch(Exception):
    """The answer is larger than any answer should be, or came too slowly."""


def _bounded(response: httpx.Response, deadline: float) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > LARGEST_ANSWER or time.monotonic() >= deadline:
            raise _TooMuch
        yield chunk


class _Watch:
    """Knows the connection of one call, from httpcore's trace, and can shut it down from another thread."""

    def __init__(self) -> None:
        self._stream: httpcore.NetworkStream | None = None

    def note(self, event: str, info: Mapping[str, object]) -> None:
        stream = info.get("return_value")
        if isinstance(stream, httpcore.NetworkStream):
            self._stream = stream

    def shut(self) -> None:
        connection = self._stream.get_extra_info("socket") if self._stream else None
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _vendor_error(body: bytes) -> tuple[str | None, str | None]:
    try:
        error = json.loads(body)["error"]
        return str(error["code"])[:60], str(error["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return None, None


def _advice(outcome: _Outcome) -> str:
    after = outcome.headers.get("Retry-After")
    by_status = {
        401: "set the variable that holds the platform's token",
        402: "the plan does not allow it; promote another deployment, or upgrade",
        403: "check that the token is valid and belongs to the team of this project",
        404: "check the id; list the deployments to see which there are",
        409: "ask where production points before trying again",
        422: "choose a deployment that is READY and has served production",
        429: f"wait {after} s, then try again" if after else "wait a minute, then try again",
    }
    return by_status.get(outcome.status or 0, "check the platform's status page, then try again")

"""One request to a provider's API, and what its failure means: refused, refused for now, or nobody can tell.

The token goes into one header. Errors quote the provider's word for what was wrong, at most a line of it, and are
raised outside the `except` that met them, so that no traceback leads back to the request.
"""

import json
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from toolkit.adapters.notify.message import TIMEOUT_S, NotSent
from toolkit.adapters.vercel_config import is_here
from toolkit.clock import utc_now
from toolkit.errors import UsageError

TOO_MANY = (420, 429)  # Statuspage knows both
LONGEST_WORD = 200
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Api:
    """A provider's API at one address, as one user."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> None:
        self.name = name
        self._url, self._timeout_s = safe_address(url, name), timeout_s
        self._headers = {"User-Agent": "rollback-drills", **headers}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON; None where it is none. Raises NotSent. Nothing is repeated."""
        failure: NotSent | None = None
        try:
            with self._client() as client:
                answer = client.request(method, path, json=body)
        except NEVER_LEFT as error:
            failure = NotSent(f"{self.name} was not reached: {type(error).__name__}", again=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure = NotSent(
                f"{self.name} did not answer: {type(error).__name__}", again=True, in_doubt=method != "GET"
            )
        if failure is not None:
            raise failure
        if 200 <= answer.status_code < 300:
            return _json(answer)
        raise self._refused(answer, method)

    def _client(self) -> httpx.Client:
        """One for each call: messages are few, and none leaves a connection behind."""
        here = is_here(urlsplit(self._url).hostname or "")  # a proxy of the environment is for the world
        return httpx.Client(
            base_url=self._url,
            headers=self._headers,
            timeout=self._timeout_s,
            trust_env=not here,
            follow_redirects=False,
        )

    def _refused(self, answer: httpx.Response, method: str) -> NotSent:
        status = answer.status_code
        said = f"{self.name} answered {status}{_word(_json(answer))}"
        if status in TOO_MANY:
            return NotSent(said, again=True, after_s=retry_after(answer.headers))
        if status >= 500:
            return NotSent(said, again=True, after_s=retry_after(answer.headers), in_doubt=method != "GET")
        return NotSent(said)


def safe_address(url: str, name: str) -> str:
    """The address, where a token may be sent to it. UsageError otherwise, which does not quote it."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_here(parts.hostname or "")):
        return url
    raise UsageError(f"The address of {name} must be https: a token travels in every request", state="nothing was sent")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date; None without one, or with one that is neither."""
    said = headers.get("retry-after") or headers.get("Retry-After") or ""
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - utc_now()).total_seconds())


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json() if answer.content else None
    except ValueError:
        return None


def _word(told: Any) -> str:
    """What the provider says was wrong: `error`, or `message` and `errors`; '' where it says nothing that we know."""
    if not isinstance(told, dict):
        return ""
    parts = [told[key] for key in ("error", "message", "errors") if told.get(key)]
    said = "; ".join(each if isinstance(each, str) else json.dumps(each) for each in parts)
    return f": {' '.join(said.split())[:LONGEST_WORD]}" if said else ""

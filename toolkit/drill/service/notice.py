"""The notice that people see while something is wrong: a flag that the platform keeps beside the deployments.

It is read when a page is shown, at most every few seconds, and never keeps a page from being shown: where it cannot be
read there is none.
"""

import time
from urllib.parse import parse_qs, urlsplit

import httpx

READ_EVERY_S = 2.0
WITHIN_S = 0.5
KEY = "incident_notice"


class Notice:
    """By the connection string of an Edge Config (`https://host/store?token=…`); '' has none."""

    def __init__(self, connection: str) -> None:
        parts = urlsplit(connection)
        self._url = f"{parts.scheme}://{parts.netloc}{parts.path}/item/{KEY}" if connection else ""
        self._headers = {"authorization": f"Bearer {parse_qs(parts.query).get('token', [''])[0]}"}
        self._client = httpx.AsyncClient(timeout=WITHIN_S, trust_env=False)
        self._read_s: float | None = None
        self._text = ""

    async def text(self) -> str:
        """What is to be shown now; '' for nothing."""
        now = time.monotonic()
        if self._url and (self._read_s is None or now - self._read_s >= READ_EVERY_S):
            self._read_s = now
            self._text = await self._read()
        return self._text

    async def close(self) -> None:
        await self._client.aclose()

    async def _read(self) -> str:
        try:
            answer = await self._client.get(self._url, headers=self._headers)
            told = answer.json() if answer.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError):
            return ""
        return str(told.get("text", "")) if isinstance(told, dict) else ""

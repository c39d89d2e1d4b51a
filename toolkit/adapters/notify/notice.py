"""The notice inside the application: a flag in Vercel's Edge Config, which the service reads at each request.

An environment variable would take a new deployment, and a row would be gone with the database; this acts within seconds
and outlives both. Setting it twice sets it once.
"""

from urllib.parse import quote, urlencode

from pydantic import SecretStr

from toolkit.adapters.notify.http import Api
from toolkit.adapters.notify.message import NotSent, Outgoing, Receipt

API_URL = "https://api.vercel.com"
KEY = "incident_notice"


class NoticeSender:
    """One Edge Config store. The token needs no more than to write it."""

    sends_twice_safely = True

    def __init__(self, token: SecretStr, store: str, *, team: str = "", api_url: str = API_URL) -> None:
        query = f"?{urlencode({'teamId': team})}" if team else ""
        self._path = f"/v1/edge-config/{quote(store, safe='')}/items{query}"
        self._api = Api("Vercel", api_url, {"Authorization": f"Bearer {token.get_secret_value()}"})

    def send(self, message: Outgoing) -> Receipt:
        """Show the text; take it away where there is none."""
        value = {"text": message.text, "incident": message.incident} if message.text else None
        self._api.call("PATCH", self._path, {"items": [{"operation": "upsert", "key": KEY, "value": value}]})
        return Receipt(f"{KEY} {'shown' if value else 'taken away'}")

    def look(self, message: Outgoing) -> Receipt | None:
        raise NotSent("setting the notice again is safe")

"""Statuspage's REST API: one incident there for one of ours, found again by its metadata, updated in place.

It has no key against sending twice. So the page is asked first: an incident that carries our id is updated and no
second one made, and an update whose text stands there already is not posted again.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from toolkit.adapters.notify.http import Api
from toolkit.adapters.notify.message import NotSent, Outgoing, Receipt

API_URL = "https://api.statuspage.io"
OURS = "rollback-drills"


class _Update(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    body: str | None = None
    status: str | None = None


class _Incident(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    id: str
    metadata: dict[str, Any] | None = None
    incident_updates: tuple[_Update, ...] = ()

    def is_of(self, incident: str) -> bool:
        own = (self.metadata or {}).get(OURS)
        return isinstance(own, dict) and own.get("incident") == incident


class StatuspageSender:
    """One page. `to` of a message are the page's components that are concerned."""

    sends_twice_safely = False

    def __init__(self, token: SecretStr, page: str, *, api_url: str = API_URL) -> None:
        self._incidents = f"/v1/pages/{page}/incidents"
        self._api = Api("Statuspage", api_url, {"Authorization": f"OAuth {token.get_secret_value()}"})

    def send(self, message: Outgoing) -> Receipt:
        """Make the incident on the page, or update the one that is there."""
        told: dict[str, object] = {"status": message.status, "body": message.text}
        there = self._find(message)
        if there is not None:
            answer = self._api.call("PATCH", f"{self._incidents}/{there.id}", {"incident": told})
        else:
            told |= {"name": message.subject, "metadata": {OURS: {"incident": message.incident}}}
            told |= {"component_ids": list(message.to)} if message.to else {}
            answer = self._api.call("POST", self._incidents, {"incident": told})
        try:
            return Receipt(_Incident.model_validate(answer).id)
        except ValidationError:
            raise NotSent("Statuspage answered something else than an incident", in_doubt=True) from None

    def look(self, message: Outgoing) -> Receipt | None:
        """Whether the incident is there with this very text."""
        there = self._find(message)
        told = there is not None and any(
            (each.body or "").strip() == message.text.strip() and each.status == message.status
            for each in there.incident_updates
        )
        return Receipt(there.id, again=True) if there is not None and told else None

    def _find(self, message: Outgoing) -> _Incident | None:
        """Ours, by the id that was given for it, else by its metadata among the newest."""
        if message.reference:
            return self._read(self._api.call("GET", f"{self._incidents}/{message.reference}"))
        listed = self._api.call("GET", self._incidents)
        found = [self._read(each) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        return next((each for each in found if each.is_of(message.incident)), None)

    def _read(self, told: object) -> _Incident:
        try:
            return _Incident.model_validate(told)
        except ValidationError:
            raise NotSent("Statuspage answered something else than an incident") from None

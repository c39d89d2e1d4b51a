"""PagerDuty's Events API v2: page whoever is on call, tell that it is taken, tell that it is over.

Every event of an incident carries the incident as `dedup_key`. PagerDuty takes the same event twice for one, so that
after an answer that was lost it is simply sent again.
"""

from pydantic import SecretStr

from toolkit.adapters.notify.http import Api
from toolkit.adapters.notify.message import NotSent, Outgoing, Receipt

API_URL = "https://events.pagerduty.com"
LONGEST_SUMMARY, LONGEST_KEY = 1024, 255  # as documented


class PagerDutySender:
    """One integration, by its routing key."""

    sends_twice_safely = True

    def __init__(self, routing_key: SecretStr, *, api_url: str = API_URL) -> None:
        self._key = routing_key
        self._api = Api("PagerDuty", api_url, {})

    def send(self, message: Outgoing) -> Receipt:
        """Trigger, acknowledge or resolve, as `message.event` says. `to` is what is affected."""
        key = message.incident[:LONGEST_KEY]
        event = {"routing_key": self._key.get_secret_value(), "event_action": message.event, "dedup_key": key}
        if message.event == "trigger":
            event |= {"client": "rollback-drills"}
            source = " ".join(message.to) or "rollback-drills"
            payload = {"summary": message.subject[:LONGEST_SUMMARY], "source": source, "severity": message.severity}
            told = self._api.call(
                "POST", "/v2/enqueue", event | {"payload": payload | {"custom_details": {"text": message.text}}}
            )
        else:
            told = self._api.call("POST", "/v2/enqueue", event)
        return Receipt(str(told.get("dedup_key") or key) if isinstance(told, dict) else key)

    def look(self, message: Outgoing) -> Receipt | None:
        raise NotSent("PagerDuty's events cannot be looked up; sending one again is safe")

"""A Whop webhook as it goes over the wire: its body, its signature, its headers.

The senders of a drill and the verification after a rollback write webhooks by this one module. The service reads them
with code of its own, so that a mistake here shows. It must never log a body: a body names a member.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import SecretStr

from toolkit.clock import iso

SIGNATURE_HEADER, TIMESTAMP_HEADER, TYPE_HEADER = "x-whop-signature", "x-whop-timestamp", "x-whop-event"
REQUEST_ID_HEADER = "x-request-id"
WEBHOOK_PATH = "/api/webhooks/whop"

EventType = Literal["payment_failed", "payment_succeeded", "membership_activated", "membership_deactivated"]


@dataclass(frozen=True)
class WebhookEvent:
    """One thing that happened at Whop. `amount` is in cents; `created_at` is UTC."""

    id: str
    type: EventType
    payment_id: str
    membership_id: str
    user_id: str
    company_id: str
    amount: int
    created_at: datetime
    failure_reason: str | None = None
    currency: str = "usd"

    def body(self) -> bytes:
        """The request body, the same bytes each time: what is signed and what is sent."""
        data = {
            "id": self.payment_id,
            "membership_id": self.membership_id,
            "user_id": self.user_id,
            "company_id": self.company_id,
            "amount": self.amount,
            "currency": self.currency,
            "failure_reason": self.failure_reason,
        }
        content = {"id": self.id, "type": self.type, "data": data, "created_at": iso(self.created_at)}
        return json.dumps(content, separators=(",", ":")).encode()


def sign(secret: SecretStr, body: bytes) -> str:
    """The value of `x-whop-signature`: HMAC-SHA256 of the raw body."""
    return "sha256=" + hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()


def webhook_headers(event_type: str, body: bytes, secret: SecretStr, request_id: str, at: datetime) -> dict[str, str]:
    """The headers of one delivery. A retry takes new ones, because the timestamp is good for five minutes only."""
    return {
        "content-type": "application/json",
        SIGNATURE_HEADER: sign(secret, body),
        TIMESTAMP_HEADER: str(int(at.timestamp())),
        TYPE_HEADER: event_type,
        REQUEST_ID_HEADER: request_id,
    }

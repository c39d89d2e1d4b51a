"""Whop's webhooks: checked, recorded once, and acted upon, all in one transaction.

An event is acknowledged with 200 only when its row and what it changed are committed together. Whatever fails leaves
nothing and is not acknowledged, so the sender comes again; an event that comes again is acknowledged and does nothing.
"""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolkit.clock import utc_now
from toolkit.drill.service.cases import Cases, FailedPayment, Payment
from toolkit.drill.service.database import Connection, Database
from toolkit.drill.service.environment import Environment
from toolkit.drill.service.request_log import note_of
from toolkit.drill.service.signature import fresh, signed

KNOWN_TYPES = ("payment_failed", "payment_succeeded", "membership_activated", "membership_deactivated")
PAUSED_RETRY_AFTER_S = 10

Name = Annotated[str, Field(min_length=1, max_length=200)]
Cents = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]


class WebhookData(BaseModel):
    """What an event is about. `amount` is in cents."""

    membership_id: Name
    user_id: Name
    company_id: Name
    amount: Cents | None = None
    currency: Name = "usd"
    failure_reason: Name | None = None


class Webhook(BaseModel):
    """A webhook's body. Without `created_at`, which is UTC, it happened when it came."""

    id: Name
    type: Name
    data: WebhookData
    created_at: AwareDatetime | None = None

    def happened_at(self, now: datetime) -> datetime:
        """When it happened, but never in the future."""
        return min(self.created_at or now, now)


def read_webhook(body: bytes) -> Webhook | None:
    """The webhook in a request's body; None when it is malformed. A payment that succeeded must say its amount."""
    try:
        webhook = Webhook.model_validate_json(body)
    except ValidationError:
        return None
    if b"\\u0000" in body or b"\x00" in body:  # valid JSON that PostgreSQL's jsonb does not take
        return None
    if webhook.type == "payment_succeeded" and webhook.data.amount is None:
        return None
    return webhook


class Webhooks:
    """POST /api/webhooks/whop."""

    def __init__(self, environment: Environment, database: Database, cases: Cases) -> None:
        self._environment, self._database, self._cases = environment, database, cases

    async def receive(self, request: Request) -> Response:
        """200 recorded or known, 401 not signed or stale, 400 malformed, 503 while processing is off or frozen."""
        note, body, now = note_of(request), await request.body(), utc_now()
        if not signed(body, request.headers.get("x-whop-signature", ""), self._environment.webhook_secret):
            return _refuse(401, "invalid_signature")
        if not fresh(request.headers.get("x-whop-timestamp", ""), now):
            return _refuse(401, "stale_timestamp")
        webhook = read_webhook(body)
        if webhook is None or request.headers.get("x-whop-event", webhook.type) != webhook.type:
            return _refuse(400, "malformed")
        note.event_type = webhook.type if webhook.type in KNOWN_TYPES else "other"
        if not self._environment.processing_enabled:
            note.message = "processing is switched off"
            headers = {"retry-after": str(PAUSED_RETRY_AFTER_S)}
            return JSONResponse({"error": "processing_disabled"}, status_code=503, headers=headers)
        async with self._database.transaction(webhook.data.company_id) as conn:
            new = await _record(conn, webhook, body)
            if new:
                await self._act(conn, webhook, now)
        note.message = "recorded" if new else "known already"
        return JSONResponse({"received": True, "duplicate": not new})

    async def _act(self, conn: Connection, webhook: Webhook, now: datetime) -> None:
        data = webhook.data
        if webhook.type == "payment_failed":
            reason = data.failure_reason or "unknown"
            happened = webhook.happened_at(now)
            await self._cases.fail(
                conn, FailedPayment(data.company_id, data.membership_id, data.user_id, reason, happened)
            )
        elif webhook.type == "payment_succeeded":
            payment = Payment(data.company_id, data.membership_id, data.amount or 0, data.currency)
            await self._cases.recover(conn, payment)


async def _record(conn: Connection, webhook: Webhook, body: bytes) -> bool:
    """Write the event's row; False when it is there already. A concurrent twin waits here for the first to end."""
    inserted = await conn.execute(
        """
        INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, processed, processed_at)
        VALUES (%(id)s, %(type)s, %(membership)s, %(company)s, %(payload)s::jsonb, true, now())
        ON CONFLICT (whop_event_id) DO NOTHING
        """,
        {
            "id": webhook.id,
            "type": webhook.type,
            "membership": webhook.data.membership_id,
            "company": webhook.data.company_id,
            "payload": body.decode(),
        },
    )
    return inserted.rowcount == 1


def _refuse(status: int, code: str) -> Response:
    return JSONResponse({"error": code}, status_code=status)

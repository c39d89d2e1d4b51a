"""The synthetic events: the only rows that verification writes. Their names say whose they are, so that they are found.

Who sends one removes it again, with what came of it (`traces`).
"""

from uuid import uuid4

from toolkit.adapters.service import WebhookEvent
from toolkit.clock import utc_now
from toolkit.playbook import SyntheticEvent
from toolkit.verify.traces import EVENT_PREFIX, MEMBER_PREFIX

COMPANY = "biz_verify"


def synthetic_event(kind: SyntheticEvent) -> WebhookEvent:
    """One that nobody sent before."""
    name = uuid4().hex
    return WebhookEvent(
        id=f"{EVENT_PREFIX}{name}",
        type=kind.type,
        payment_id=f"pay_verify_{name}",
        membership_id=f"{MEMBER_PREFIX}{name}",
        user_id=f"usr_verify_{name}",
        company_id=COMPANY,
        amount=100,
        created_at=utc_now(),
        failure_reason=kind.failure_reason,
    )

"""Is this webhook Whop's, and is it fresh? Pure rules: bytes and times in, yes or no out.

A signature is the HMAC-SHA256 of the raw body in hex, written in one of three forms. It is compared in constant time.
"""

import hashlib
import hmac
from datetime import datetime, timedelta

FORMS = ("sha256=", "v1,", "")
REPLAY_WINDOW = timedelta(minutes=5)


def signed(body: bytes, signature: str, secret: str) -> bool:
    """Whether `signature` (`sha256=<hex>`, `v1,<hex>` or `<hex>`) is that of `body` under `secret`."""
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    form = next(prefix for prefix in FORMS if signature.startswith(prefix))
    given = signature.removeprefix(form).strip().lower()
    return hmac.compare_digest(given.encode(), expected.encode())


def fresh(timestamp: str, now: datetime) -> bool:
    """Whether a header of unix seconds lies within REPLAY_WINDOW of `now`, before or after it."""
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12:
        return False
    return abs(now.timestamp() - int(timestamp)) <= REPLAY_WINDOW.total_seconds()

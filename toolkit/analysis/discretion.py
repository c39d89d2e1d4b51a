"""What a report must not repeat, whoever wrote it down: people's ids and addresses, values of rows, secrets.

The service's log and our journals hold none of it by their own rules. Other people's logs do, and so do error messages
that quote a row. This is the wall behind those rules: it masks what looks like one, and leaves the rest of the text.
"""

import re

from toolkit.redaction import redact

_MASKS = (
    (re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"), "[address]"),
    (re.compile(r"\b(user|mem|cus|pay)_(?=\w*\d)\w+", re.IGNORECASE), r"[\1 id]"),
    (re.compile(r"\)=\([^)]*\)"), ")=(…)"),  # Key (column)=(value), as PostgreSQL quotes rows
    (re.compile(r"Failing row contains .*", re.IGNORECASE | re.DOTALL), "Failing row contains …"),
)
UNTOLD_FIELDS = {"payload", "body", "user", "user_id", "email", "by", "operator", "examples", "who", "who_before"}


def discreet(text: str) -> str:
    """The text without secrets, ids and addresses of people, and quoted rows."""
    text = redact(text)
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text

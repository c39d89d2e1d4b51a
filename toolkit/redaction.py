"""What must never be written: the values of secrets that this process has read.

Whoever resolves a secret tells it to `keep_secret`; whatever writes text for keeps (the journal, an error, a report)
passes it through `redact`. It is the last of several walls: no caller should hand a secret on in the first place.
"""

import re
from urllib.parse import unquote, urlsplit

_MIN_LENGTH = 6  # shorter values would mask ordinary words
_kept: set[str] = set()
_URL_PASSWORD = re.compile(r"(?P<head>\b\w{1,20}://[^\s:/@]{1,80}:)[^\s@]{1,200}(?P<tail>@)")


def keep_secret(value: str) -> None:
    """Mask `value` from now on, and, where it is a URL, the password inside it."""
    parts = {value}
    if "://" in value and (password := urlsplit(value).password):
        parts = {password, unquote(password)}
    _kept.update(part for part in parts if len(part) >= _MIN_LENGTH)


def redact(text: str) -> str:
    """The text without any kept secret and without a password in any URL."""
    text = _URL_PASSWORD.sub(r"\g<head>***\g<tail>", text)
    for secret in sorted(_kept, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text

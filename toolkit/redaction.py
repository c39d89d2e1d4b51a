"""What must never be written: the values of secrets that this process has read.

Whoever resolves a secret tells it to `keep_secret`; whatever writes text for keeps (the journal, an error, a report)
passes it through `redact`. It is the last of several walls: no caller should hand a secret on in the first place.

A password that is a plain word, as `postgres` or `payments`, is masked only where it stands in a URL: masked everywhere
it would be told by the gaps, and what is read back, as a plan for a database of that name, would be another one.
"""

import re
from urllib.parse import unquote, urlsplit

_MIN_LENGTH = 6  # shorter values would mask ordinary words
_kept: set[str] = set()
_PLAIN_WORD = re.compile(r"[a-z][a-z_]{0,15}")
_URL_PASSWORD = re.compile(r"(?P<head>\b\w{1,20}://[^\s:/@]{1,80}:)[^\s@]{1,200}(?P<tail>@)")


def keep_secret(value: str) -> None:
    """Mask `value` from now on, and, where it is a URL, the password inside it."""
    parts = {value}
    if "://" in value and (password := _password_in(value)):
        parts = {password, unquote(password)}
    _kept.update(part for part in parts if len(part) >= _MIN_LENGTH and not _PLAIN_WORD.fullmatch(part))


def redact(text: str) -> str:
    """The text without any kept secret and without a password in any URL."""
    text = _URL_PASSWORD.sub(r"\g<head>***\g<tail>", text)
    for secret in sorted(_kept, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _password_in(url: str) -> str | None:
    """Of a malformed URL too: whoever reads it next quotes what he stumbled over."""
    try:
        if password := urlsplit(url).password:
            return password
    except ValueError:
        pass
    written = url.partition("://")[2].rpartition("@")[0]
    return written.partition(":")[2] or None

"""Where Vercel's API is and as whom it is called. It refuses a configuration that would let the token leak."""

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class VercelConfig(BaseModel):
    """Where the API is and as whom to call it. `timeout_s` bounds a whole call, its repetitions included, in seconds.

    `production_host` is the name that production is asked by; None takes the names that the project lists. A plain
    `http` address is taken for this machine only, because the token travels in every request. `unset`: the variables
    that hold all this and are not set; then every call raises PlatformError and nothing is sent. So it is where nobody
    hosts the deployments whom one could ask (`hosted` False).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_url: str = "https://api.vercel.com"
    token: SecretStr
    project_id: str
    team_id: str | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    production_host: str | None = None
    unset: tuple[str, ...] = ()
    hosted: bool = True

    @field_validator("api_url")
    @classmethod
    def _safe_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("an http or https address without a user or password is wanted")
        if parts.scheme == "http" and not is_here(parts.hostname):
            raise ValueError("https is wanted: the token travels in every request")
        return value.rstrip("/")

    @field_validator("token")
    @classmethod
    def _sendable(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("the token is empty or holds characters that no token has")
        return SecretStr(text)


def is_here(host: str) -> bool:
    """Whether this host is the machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

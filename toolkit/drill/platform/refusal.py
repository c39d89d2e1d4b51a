"""How the API says no. Rules raise it, `api` turns it into the vendor's error body. It must never carry a secret."""

from collections.abc import Mapping


class Refused(Exception):
    """An answer of 4xx: `{"error": {"code", "message", **extra}}` with `status`."""

    def __init__(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.extra = status, code, message, dict(extra or {})

    def body(self) -> dict[str, object]:
        return {"error": {"code": self.code, "message": self.message, **self.extra}}

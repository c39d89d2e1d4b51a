"""Maintenance: the service takes no writes, and says so in a way that makes senders come again.

Either it was built with MAINTENANCE_MODE, or the database refuses its writes for want of a privilege, which is how
writes are stopped at once. A refused write is never acknowledged; reading goes on.
"""

from psycopg import errors
from starlette.responses import JSONResponse, Response

RETRY_AFTER_S = 5
READING = ("GET", "HEAD", "OPTIONS")


def in_maintenance() -> Response:
    """503, to be tried again."""
    headers = {"retry-after": str(RETRY_AFTER_S)}
    return JSONResponse({"error": "maintenance"}, status_code=503, headers=headers)


def is_frozen(error: Exception, method: str) -> bool:
    """Whether the database took the privilege to write away. A row that a policy refuses has the same code."""
    return (
        isinstance(error, errors.InsufficientPrivilege)
        and method not in READING
        and "row-level security" not in (error.diag.message_primary or "")
    )

"""Which lines to a database go through a pooler, and which of them can be worked on.

In transaction mode there is no session: locks, settings, snapshots and DDL misbehave silently. In session mode a client
has a server's session of its own until it goes; but what it asks for when it connects is dropped, and it is told
another process id. Supabase has both at one host, by port. Of other poolers nobody can tell from here. Pure.
"""

from collections.abc import Mapping
from enum import StrEnum

from toolkit.errors import UsageError

TRANSACTION_POOLER_PORT = "6543"
SESSION_POOLER_HOST = ".pooler.supabase.com"  # on every other port
NO_OPTIONS = "unsupported startup parameter"  # PgBouncer's word
USE = (
    "use the direct connection, of the form db.PROJECT.supabase.co:5432, or the session pooler's, "
    "aws-…pooler.supabase.com:5432"
)


class Line(StrEnum):
    """What a URL tells of the way to its server. `DIRECT`: nothing speaks of a pooler."""

    DIRECT = "direct"
    SESSION = "session pooler"
    TRANSACTION = "transaction pooler"


def line_of(parts: Mapping[str, str | int | None]) -> Line:
    """Of a URL, as libpq's parts."""
    hosts = str(parts.get("host") or "").lower().split(",")
    if TRANSACTION_POOLER_PORT in str(parts.get("port") or "").split(","):
        return Line.TRANSACTION
    return Line.SESSION if any(host.endswith(SESSION_POOLER_HOST) for host in hosts) else Line.DIRECT


def through_a_pooler(which: str, target: str) -> UsageError:
    """The refusal."""
    return UsageError(f"The database URL goes through {which}", target=target, state="nothing was done", next=USE)

"""What a deployment is: code of one build, frozen together with the environment it was built with.

Values only. Which of them production points at, and what may become of them, is decided in `state`.
"""

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

_LETTERS = string.ascii_letters + string.digits


class ReadyState(StrEnum):
    """The vendor's names for where a deployment stands."""

    QUEUED = "QUEUED"
    BUILDING = "BUILDING"
    READY = "READY"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Deployment:
    """One immutable build. Times are milliseconds since 1970 in UTC, as the vendor gives them.

    `served` tells whether production ever pointed at it, which makes it a candidate for an instant rollback.
    `environment` is the snapshot taken when it was built; it holds secrets and is never rendered.
    """

    id: str
    host: str
    build: int
    target: str
    created_ms: int
    state: ReadyState = ReadyState.QUEUED
    building_ms: int | None = None
    ready_ms: int | None = None
    aliased_ms: int | None = None
    served: bool = False
    meta: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    error: str | None = None

    @property
    def is_production(self) -> bool:
        return self.target == "production"


def new_deployment_id() -> str:
    """`dpl_` and 28 letters or digits, as the vendor's."""
    return "dpl_" + "".join(secrets.choice(_LETTERS) for _ in range(28))


def new_host(project_name: str, team_slug: str) -> str:
    """The deployment's own host name. It resolves nowhere; the router knows it from the Host header."""
    part = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(9))
    return f"{project_name}-{part}-{team_slug}.vercel.app"


def milliseconds(moment: datetime) -> int:
    """An aware moment as the vendor writes it: whole milliseconds since 1970, UTC."""
    return int(moment.timestamp() * 1000)

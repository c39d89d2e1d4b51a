"""What a planner goes by: the facts about one target at one moment. Values only; `survey` collects them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.adapters.postgres import ServerIdentity, StablePoint
from toolkit.adapters.vercel import Deployment
from toolkit.errors import RollbackError
from toolkit.rollback.down_sql import Loss
from toolkit.rollback.migrations import MigrationFolder
from toolkit.rollback.state_tables import MigrationState


@dataclass(frozen=True)
class CountedLoss:
    """What a down removes, and how many rows hold it on the live database now.

    `rows` None: not counted, and `note` says why. `at_least`: counting stopped at a bound.
    """

    version: int
    loss: Loss
    rows: int | None
    at_least: bool = False
    note: str = ""

    def __str__(self) -> str:
        count = "" if self.rows is None else f"{'more than ' if self.at_least else ''}{self.rows:,} rows"
        told = ", ".join(part for part in (count, self.note) if part)
        return f"Migration {self.version} {self.loss.verb} {self.loss.what}{f' ({told})' if told else ''}."


@dataclass(frozen=True)
class Releases:
    """Where production points, and the production deployments, newest first.

    `live` None: the platform did not say, and `unread` tells why. What needs no deployment can be planned all the same.
    """

    live: Deployment | None
    deployments: tuple[Deployment, ...] = ()
    unread: str = ""

    @property
    def running(self) -> Deployment:
        """Where production points. Raises RollbackError when the platform did not say."""
        if self.live is None:
            raise RollbackError(
                f"Where production points is unknown: {self.unread or 'the platform was not asked'}",
                state="nothing was done",
                next="roll the database back alone (--last-stable, --migration-target, --backup-restore), or wait for "
                "the platform",
            )
        return self.live

    def named(self, id_or_host: str) -> Deployment | None:
        """A listed deployment by its id or host."""
        return next((d for d in self.deployments if id_or_host in (d.id, d.host)), None)

    @property
    def earlier(self) -> list[Deployment]:
        """Those that production can be pointed at: ready, once live, not live now; the newest first."""
        live = self.live.id if self.live else None
        found = [d for d in self.deployments if d.id != live and can_serve(d)]
        return sorted(found, key=lambda d: d.created_at, reverse=True)


@dataclass(frozen=True)
class Situation:
    """One target. `pooled`: its database URL goes through a transaction pooler. `stable` are newest first.

    What could not be read is None, and `unread` says why.
    """

    service: str
    target: str
    server: ServerIdentity | None
    pooled: bool
    releases: Releases
    folder: MigrationFolder | None = None
    state: MigrationState | None = None
    stable: tuple[StablePoint, ...] = ()
    losses: tuple[CountedLoss, ...] = ()
    unread: str = ""


def unseen_application(releases: Releases) -> tuple[str, ...]:
    """The warning of a plan that leaves the application alone because the platform is silent; () where it answers."""
    if releases.live is not None:
        return ()
    return (
        f"Which deployment is live, and whether it works on what the database will be, is unknown: {releases.unread}. "
        "Look at it as soon as the platform answers (--status-only, --app-rollback).",
    )


def can_serve(deployment: Deployment) -> bool:
    """Whether the platform would roll back to it: built, and once live (asked by itself, the platform does not say)."""
    once_live = deployment.is_rollback_candidate
    if once_live is None:
        once_live = deployment.substate == "PROMOTED"
    return deployment.ready and once_live


def is_same_server(found: ServerIdentity, assessed: Mapping[str, Any]) -> bool:
    """Whether the server of an assessment, as the journal keeps it, is this one: same cluster, same database."""
    return all(assessed.get(name) == getattr(found, name) for name in ("system_identifier", "database"))

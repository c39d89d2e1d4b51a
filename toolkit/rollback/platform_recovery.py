"""Point-in-time recovery by the platform: told beside our restore, and planned where it is asked for by name. Pure.

It is the last resort that needs no readable database. It puts the whole project back, in place: everything after the
moment is lost to the live service, and nothing undoes it. So writes are frozen and backed up first, where that can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from toolkit.errors import RollbackError, UsageError
from toolkit.rollback.plan import PLATFORM, BackUp, FreezeWrites, Plan, RecoverByPlatform, Step
from toolkit.rollback.restore.sources import Damaged
from toolkit.rollback.situation import Situation

BACKUP_FOLDER = "backup-before-recovery"
BEFORE = timedelta(seconds=1)


@dataclass(frozen=True)
class PlatformRecovery:
    """What the platform offers for a project. Moments are UTC; `worst_loss` is how much may be lost besides."""

    earliest: datetime
    latest: datetime
    worst_loss: timedelta
    project: str = ""

    def covers(self, moment: datetime) -> bool:
        """Whether it can go back to that moment."""
        return self.earliest <= moment <= self.latest

    @property
    def reach(self) -> str:
        return f"{self.earliest:%Y-%m-%d %H:%M} to {self.latest:%Y-%m-%d %H:%M} UTC"


def wanted_moment(source: str, damaged: Damaged, *, target: str) -> datetime:
    """`platform:TIME`, or with `platform` alone the second before the damage began. UsageError where neither tells."""
    named = source.removeprefix(PLATFORM).removeprefix(":")
    if not named and damaged.at is not None:
        return (damaged.at - BEFORE).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(named)
    except ValueError:
        said = f"{named!r} is no moment" if named else f"When the damage began is unknown: {damaged.why}"
        raise UsageError(
            said,
            target=target,
            state="nothing was done",
            next="name the moment: --backup-restore=platform:2026-11-25T11:59:00Z",
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).replace(microsecond=0)


def plan_platform_recovery(
    situation: Situation, platform: PlatformRecovery, moment: datetime, *, turn: int = 1, reasons: Sequence[str] = ()
) -> Plan:
    """The plan of a recovery to `moment`. Raises RollbackError for one that the platform does not reach."""
    if not platform.covers(moment):
        raise RollbackError(
            f"The platform cannot go back to {moment:%Y-%m-%d %H:%M:%S} UTC, only to {platform.reach}",
            target=situation.target,
            state="nothing was done",
            next="name a moment between: --backup-restore=platform:TIME; or restore a backup",
        )
    readable = situation.server is not None and not situation.pooled
    minutes = platform.worst_loss.total_seconds() / 60
    said = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    kept = f"It stays in {BACKUP_FOLDER}." if readable else "No backup can be made of it: the database cannot be read."
    return Plan(
        kind="restore",
        service=situation.service,
        target=situation.target,
        server=situation.server,
        summary=f"Point-in-time recovery of {situation.service} by the platform, to {said}",
        steps=(*((_freeze(), _back_up(turn)) if readable else ()), _recover(platform, moment, said, readable=readable)),
        destroys=(
            f"Everything written after {said}, acknowledged or not, and up to {minutes:g} minutes before. {kept}",
            "What the toolkit keeps on the target since then: stable points, leases, kept plans.",
        ),
        warnings=("How long the project is unreachable is not known: from minutes to hours, by its size.",),
        reasons=(
            *reasons,
            "It was asked for by name. Our own restore loses nothing acknowledged, and stops writes for seconds.",
        ),
        turn=turn,
    )


def _freeze() -> Step:
    return Step(
        id="freeze-writes",
        action=FreezeWrites(),
        what="Take the write privileges of the application's roles away, and end their transactions that have written",
        why="What is written after the backup and before the recovery would be in neither",
        expected="Writes fail at once; senders send again what was not acknowledged",
        verify="The catalog says so, and a write attempt as the application fails",
        undo="--abort lifts it, as long as the recovery was not asked for; the recovery itself lifts it, too",
    )


def _back_up(turn: int) -> Step:
    folder = BACKUP_FOLDER if turn == 1 else f"{BACKUP_FOLDER}-{turn}"
    return Step(
        id="back-up",
        action=BackUp(folder),
        what=f"Make the emergency backup in {folder}",
        why="The recovery is in place: this is the only copy of what was written after the moment",
        expected="A folder that appears when it is whole",
        verify="Every file is read again",
        undo="It changes nothing",
    )


def _recover(platform: PlatformRecovery, moment: datetime, said: str, *, readable: bool) -> Step:
    kept = "what was written after it is in the backup, to be taken from it by hand" if readable else "there is no copy"
    return Step(
        id="recover-by-platform",
        action=RecoverByPlatform(platform.project, moment),
        what=f"Ask the platform to put project {platform.project} back to {said}, and wait until it is healthy again",
        why=f"The platform can go back to any moment from {platform.reach}, without a readable database",
        expected="The project is unreachable meanwhile: every request that needs the database fails",
        verify="The platform calls every part healthy, and what was marked on the target before is gone from it",
        undo=f"Nothing undoes it; {kept}",
    )

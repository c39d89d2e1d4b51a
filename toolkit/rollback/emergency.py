"""Type 4, the full emergency: stop writes, back up, put application and database back, return step by step. Pure.

It wraps whatever the other planners decided, so that there is one way to go down a migration and one to restore.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.poolers import USE
from toolkit.errors import RollbackError
from toolkit.rollback.plan import (
    BackUp,
    EndSessions,
    FreezeWrites,
    Plan,
    ReleaseWrites,
    Stage,
    Step,
    VerifyFrozen,
)
from toolkit.rollback.situation import Situation, unseen_application

BACKUP_FOLDER = "backup-frozen"
STAGES: tuple[tuple[Stage, str], ...] = (
    ("webhooks", "What comes from outside first: its senders have been waiting"),
    ("reminders", "The job queue: from here on people get messages again"),
    ("everything", "All that is left"),
)


@dataclass(frozen=True)
class Breach:
    """Why this is a security incident, and what must be rotated by hand afterwards, by name."""

    reason: str
    credentials: tuple[str, ...]


def plan_emergency(
    situation: Situation,
    *,
    parts: Sequence[Plan],
    breach: Breach | None = None,
    reasons: Sequence[str] = (),
    turn: int = 1,
) -> Plan:
    """The plan of Type 4 around the steps of `parts`, in their order. `turn` as in `Plan`, that of a restore in it.

    Raises RollbackError where there is nothing to put back, or where the database cannot be read: what cannot be
    frozen cannot be rolled back in this way.
    """
    if situation.server is None or situation.state is None:
        raise RollbackError(
            f"The database cannot be read: {situation.unread or 'nobody answered'}",
            target=situation.target,
            state="nothing was done",
            next="bring the database back first; an application can be rolled back without it (--app-rollback)",
        )
    if situation.pooled:
        raise RollbackError(
            "The database URL goes through a transaction pooler, where a freeze and a backup cannot be held",
            target=situation.target,
            state="nothing was done",
            next=USE,
        )
    inner = [step for part in parts for step in part.steps]
    if not inner and breach is None:
        raise RollbackError(
            "Neither the application nor the schema has anything to go back to",
            target=situation.target,
            state="nothing was done",
            next="restore a backup (--backup-restore=FILE), or assess again",
        )
    first = [_freeze(), *([_end_sessions(breach)] if breach else []), _back_up(turn)]
    steps = [*first, *inner, _verify(), *map(_release, STAGES)]
    told = "; ".join(part.summary.partition(": ")[2] or part.summary for part in parts) or "sessions ended"
    return Plan(
        kind="emergency",
        service=situation.service,
        target=situation.target,
        server=situation.server,
        summary=f"Full emergency rollback of {situation.service}: {told}",
        steps=tuple(steps),
        destroys=tuple(line for part in parts for line in part.destroys),
        warnings=tuple(dict.fromkeys([*_warnings(situation, parts), *_rotate(breach)])),
        reasons=tuple(dict.fromkeys([*reasons, *(line for part in parts for line in part.reasons)])),
        turn=turn,
        proposed=tuple(each for part in parts for each in part.proposed),
    )


def _warnings(situation: Situation, parts: Sequence[Plan]) -> list[str]:
    return [*(line for part in parts for line in part.warnings), *unseen_application(situation.releases)]


def _freeze() -> Step:
    return Step(
        id="freeze-writes",
        action=FreezeWrites(),
        what="Take the write privileges of the application's roles away, and end their transactions that have written",
        why="What is not written meanwhile cannot be lost; senders keep what was not acknowledged and send it again",
        expected="Writes fail at once, reads go on. The privileges are kept on the target, to be given back exactly",
        verify="The catalog says so, a write attempt as the application fails, and no row comes any more",
        undo="--resume goes on and lifts it; --abort lifts it now",
    )


def _end_sessions(breach: Breach) -> Step:
    return Step(
        id="end-sessions",
        action=EndSessions(breach.reason),
        what="End every session on the database but our own",
        why=breach.reason,
        expected="The application's pools connect again by themselves; whoever was in without right is out",
        verify="No other session from before is left",
        undo="Nothing to undo",
    )


def _back_up(turn: int) -> Step:
    return Step(
        id="back-up",
        action=BackUp(BACKUP_FOLDER if turn == 1 else f"{BACKUP_FOLDER}-{turn}"),
        what="Back up the frozen database, beside the backup from before",
        why="It holds all that was ever acknowledged, for nothing is written any more",
        expected="As long as the first backup took",
        verify="It is read whole",
        undo="Nothing to undo: a backup changes nothing",
    )


def _verify() -> Step:
    return Step(
        id="verify-frozen",
        action=VerifyFrozen(),
        what="Look at the data, the state table and what is live, before anything is written again",
        why="What is wrong now can be mended or given up while nothing is lost by it",
        expected="A few seconds; the service refuses writes meanwhile",
        verify="No check fails; what is unknown is told",
        undo="Nothing to undo: it only looks",
    )


def _release(stage: tuple[Stage, str]) -> Step:
    name, why = stage
    return Step(
        id=f"release-{name}",
        action=ReleaseWrites(name),
        what=f"Give write privileges back: {name}",
        why=why,
        expected="The first writes come within seconds",
        verify="The privileges are exactly those of before",
        undo="--abort leaves them given",
    )


def _rotate(breach: Breach | None) -> list[str]:
    return [f"To be rotated by hand, now: {', '.join(breach.credentials)}."] if breach else []

"""Going on with a rollback that died, from the incident's folder or from what the target holds; or giving it up.

Aborting undoes what can be undone without losing anything, newest step first, says what it left, and lifts the freeze:
a service is never left locked out by a plan that nobody carries on. Where the database stays changed, production stays
at the deployment that the plan pairs with it: newer code on an older schema is worse than a plan given up half-way.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.adapters.postgres import Database
from toolkit.adapters.systems import Systems
from toolkit.errors import DatabaseError, RollbackError, ToolkitError
from toolkit.incident import Incident, State
from toolkit.playbook import Severity
from toolkit.rollback.begun import ABORTED, latest_progress
from toolkit.rollback.freeze import frozen
from toolkit.rollback.kept_plan import KeptPlan, end_plan, keep_plan, plan_to_resume
from toolkit.rollback.lease import Lease
from toolkit.rollback.plan import (
    FreezeWrites,
    Mend,
    MigrateUp,
    Plan,
    PointProduction,
    RecoverByPlatform,
    ReleaseEffects,
    ReleaseWrites,
    RunDown,
    Step,
    SwapIn,
)
from toolkit.rollback.restore.swap_databases import reopen
from toolkit.rollback.runner import AS_USUAL, Manner, require_meant
from toolkit.rollback.steps import Surroundings, doing_of

UNDONE, LEFT = "step.undone", "step.left"
CHANGING = (RunDown, Mend, MigrateUp, SwapIn, RecoverByPlatform)
LEFT_AS_IT_IS = "left as it is"


@dataclass(frozen=True)
class Undone:
    """What became of a step when its plan was given up: 'undone', 'left as it is', 'was not done' or 'failed'."""

    step: str
    outcome: str
    evidence: str


@dataclass(frozen=True)
class Aborted:
    """The steps, in the order in which they were undone; `whole` when all that was done to the application and the
    database is undone and no freeze is left."""

    plan: Plan
    steps: tuple[Undone, ...]
    whole: bool

    def rows(self) -> list[dict[str, str]]:
        """A row for each step."""
        return [{"step": each.step, "outcome": each.outcome, "evidence": each.evidence} for each in self.steps]


def plan_begun(systems: Systems, incident: Incident) -> Plan:
    """The plan to go on with or to give up: the journal's, or, on another machine, the one that the target keeps.

    Raises RollbackError when nothing was begun that has not ended, or only under another incident (`incident_begun`
    finds that one), DatabaseError where only the target could tell.
    """
    _reopen(systems.database)
    progress = latest_progress(incident.journal.entries())
    if progress is not None and not progress.finished and not progress.aborted:
        return Plan.from_json(progress.data)
    return plan_to_resume(systems.database, incident.id).plan


def incident_begun(systems: Systems, home: Path, *, actor: str, execute: bool) -> Incident:
    """The incident under which the rollback was begun that the target keeps: what a run left there (its lease, a
    restored copy, what was salvaged) is found only under its id.

    Its folder where that lies on this machine, otherwise the one of its name in `home`. When there is none, `execute`
    makes it, and its journal says first where the other one lies. Raises as `plan_begun`.
    """
    _reopen(systems.database)
    kept = plan_to_resume(systems.database)
    if Path(kept.incident).name != kept.incident:
        raise RollbackError(f"The target names an incident that cannot be: {kept.incident!r}", next="name its folder")
    here = Path(kept.folder) if kept.folder and kept.host == socket.gethostname() else home / kept.incident
    if here.name == kept.incident and Incident(here).journal.path.exists():
        return Incident(here)
    incident = Incident(home / kept.incident)
    if execute and not incident.journal.path.exists():
        _open_here(incident, kept, systems, actor)
    return incident


def _open_here(incident: Incident, kept: KeptPlan, systems: Systems, actor: str) -> None:
    head = systems.database.kept_head(kept.incident)
    incident.folder.mkdir(parents=True, exist_ok=True)
    elsewhere = {"host": kept.host, "folder": kept.folder, "seq": head.seq if head else None}
    incident.record("journal.elsewhere", elsewhere | {"hash": head.hash if head else None}, actor=actor)
    where = f"on {kept.host} in {kept.folder}" if kept.folder else "elsewhere"
    why = f"{kept.plan.summary} was begun {where}, and is gone on with or given up here"
    incident.open(Severity.P1, [why], actor=actor)
    incident.advance(State.ACKNOWLEDGED, why, actor=actor)


def _reopen(database: Database) -> None:
    with suppress(DatabaseError):  # a server that does not answer says so to whoever asks it next
        reopen(database)  # a swap that was killed may have left it closed to everybody


def abort(
    plan: Plan,
    systems: Systems,
    incident: Incident,
    *,
    actor: str,
    confirm: str | None = None,
    manner: Manner = AS_USUAL,
) -> Aborted:
    """Give a plan up. What is not undone is told, with the state it is in.

    Raises RollbackError when somebody else is at work, DatabaseError when the database does not answer.
    """
    require_meant(plan, systems, confirm, execute=True)
    database = systems.database
    lease = Lease.acquire(
        database,
        incident=incident.id,
        plan=plan.id,
        holder=actor,
        take_over=bool(manner.take_over),
        reason=manner.take_over,
    )
    with lease.keep():
        try:
            keep_plan(database, plan, incident.id, folder=incident.folder, guard=lease.guard)
            around = Surroundings(
                plan,
                systems,
                incident,
                manner.patience,
                lambda kind, data: _record(incident, plan, kind, dict(data)),
                fence=lease,
                advance=manner.advance,
            )
            undone, stays = _undo_all(plan, around)
            ended = all(each.outcome != "failed" for each in undone) and frozen(database) is None
            whole = ended and not stays
            _record(incident, plan, ABORTED, {"whole": whole, "steps": {u.step: u.outcome for u in undone}})
            if ended:
                end_plan(database, plan, "aborted")
        finally:
            lease.release()
    return Aborted(plan, undone, whole)


def _undo_all(plan: Plan, around: Surroundings) -> tuple[tuple[Undone, ...], bool]:
    """What became of each step, and whether the database stays changed. What changes it comes first, for what became of
    that decides about the application; whatever releases is no step to undo."""
    newest_first = [s for s in reversed(plan.steps) if not isinstance(s.action, ReleaseWrites | ReleaseEffects)]
    changing = [step for step in newest_first if isinstance(step.action, CHANGING)]
    undone = [_undo(step, around) for step in changing]
    stays = any(each.outcome in (LEFT_AS_IT_IS, "failed") for each in undone)
    for step in newest_first:
        if step in changing:
            continue
        paired = stays and isinstance(step.action, PointProduction)
        undone.append(_leave(step, around) if paired else _undo(step, around))
    return tuple(undone), stays


def _leave(step: Step, around: Surroundings) -> Undone:
    """The deployment that goes with the database as it stays."""
    state = doing_of(step, around).state()
    around.tell(LEFT, {"step": step.id, "state": state, "why": "the database stays changed"})
    return Undone(
        step.id,
        LEFT_AS_IT_IS,
        f"{state}: the database stays changed, and this deployment goes with it. Once the schema is back: {step.undo}",
    )


def _undo(step: Step, around: Surroundings) -> Undone:
    doing = doing_of(step, around)
    try:
        standing = doing.look()
        untouched = not standing.done and not doing.partly()
        if untouched and not isinstance(step.action, FreezeWrites):
            return Undone(step.id, "was not done", standing.evidence)
        around.fence.require()
        said = doing.undo()
    except ToolkitError as error:
        around.tell(LEFT, {"step": step.id, "error": error.what, "state": error.state or doing.state()})
        return Undone(step.id, "failed", f"{error.what}; {error.state or doing.state()}")
    if said is None and untouched:
        return Undone(step.id, "was not done", standing.evidence)
    if said is None:
        around.tell(LEFT, {"step": step.id, "state": doing.state()})
        return Undone(step.id, LEFT_AS_IT_IS, f"{doing.state()}. By hand: {step.undo}")
    around.tell(UNDONE, {"step": step.id, "outcome": said})
    return Undone(step.id, "undone", said)


def _record(incident: Incident, plan: Plan, kind: str, data: dict[str, object]) -> None:
    incident.record(kind, {"plan": plan.id, **data}, actor="runner")

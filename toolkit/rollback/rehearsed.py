"""What the journal says of a plan's rehearsal, and whether it allows the plan. Reads only the journal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.checks import Outcome
from toolkit.errors import RollbackError
from toolkit.incident import Incident
from toolkit.rollback.plan import Plan

REHEARSED, SKIPPED = "rehearsal.made", "rehearsal.skipped"


@dataclass(frozen=True)
class Rehearsed:
    """What a rehearsal of a plan predicted: seconds and locks by step, and whether it ended well."""

    plan: str
    outcome: Outcome
    seconds: Mapping[str, float]
    why: str

    @property
    def total_s(self) -> float:
        """All steps together, in seconds."""
        return round(sum(self.seconds.values()), 3)


def rehearsal_of(incident: Incident, plan: Plan) -> Rehearsed | None:
    """The latest rehearsal of this very plan; None without one."""
    for entry in reversed(incident.journal.entries()):
        if entry.kind == REHEARSED and entry.data["plan"] == plan.id:
            return _read(entry.data)
    return None


def require_rehearsal(incident: Incident, plan: Plan, no_rehearsal: str, *, actor: str) -> None:
    """RollbackError unless this plan was rehearsed and ended well there, or somebody gives a reason to go without.

    A plan that failed on the copy is not carried out, whatever the reason. Where a step failed on a copy that could not
    be built whole, that tells nothing, and a reason is wanted as without a rehearsal. A reason is journaled.
    """
    made = rehearsal_of(incident, plan)
    if made is not None and made.outcome is Outcome.FAIL:
        raise RollbackError(
            f"Plan {plan.id} failed on the copy: {made.why}",
            target=plan.target,
            state="nothing was done on the target",
            next="choose another way back (restore from a backup, or another version), then rehearse that",
        )
    if made is not None and not made.why:
        return
    if not no_rehearsal:
        raise _untried(plan, made)
    told = {"on_the_copy": made.why} if made else {}
    incident.record(SKIPPED, {"plan": plan.id, "why": no_rehearsal} | told, actor=actor)


def _untried(plan: Plan, made: Rehearsed | None) -> RollbackError:
    if made is None:
        return RollbackError(
            f"Plan {plan.id} was not tried on a copy",
            target=plan.target,
            state="nothing was done",
            next="rehearse it, as 03_rollback does; or say why not: emergency-rollback … --no-rehearsal REASON",
        )
    return RollbackError(
        f"Plan {plan.id} could not be tried: the copy could not be built whole, and there {made.why}",
        target=plan.target,
        state="nothing was done",
        next="name a PostgreSQL that has what is missing (PG_BINDIR) and rehearse again; or go without and say why: "
        "emergency-rollback … --no-rehearsal REASON",
    )


def _read(data: Mapping[str, Any]) -> Rehearsed:
    seconds = {step["step"]: float(step["seconds"]) for step in data["steps"]}
    return Rehearsed(data["plan"], Outcome(data["outcome"]), seconds, str(data.get("why") or ""))

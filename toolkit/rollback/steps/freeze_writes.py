"""Stopping writes, and giving them back by stages, as steps of a plan.

A freeze is done once its plan has one that is settled and proved, lifted or not: a plan that was finished and is looked
at again must not freeze a second time. Undoing lifts it, and then it is not done any more.
"""

from dataclasses import replace

from toolkit.checks import Outcome
from toolkit.errors import RollbackError
from toolkit.rollback.freeze import (
    Means,
    came_since,
    freeze_of,
    freeze_writes,
    frozen,
    is_proof,
    look_released,
    proved,
    release_writes,
    scope_of,
    state_of_writes,
    writable,
)
from toolkit.rollback.plan import FreezeWrites, ReleaseWrites
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings
from toolkit.rollback.steps.recover_by_platform import recovery_asked

WATCH_S = 1.0
GIVE_UP_AFTER_S, LONGEST_PAUSE_S = 30.0, 1.0


class FreezingWrites(Doing):
    """`FreezeWrites`, carried out."""

    def __init__(self, action: FreezeWrites, around: Surroundings) -> None:
        super().__init__(around)
        self.action = action
        self._database, self._scope = around.systems.database, scope_of(around.systems.playbook)

    def require(self) -> None:
        _require_server(self.around)

    def look(self) -> Standing:
        if self.around.plan.recovers is not None and recovery_asked(self.around):
            return Standing(True, "the platform's recovery was asked for, and gives the privileges back")
        freeze = freeze_of(self._database, self.around.plan.id)
        if freeze is None or freeze.state == "undone":
            there = frozen(self._database)
            return Standing(False, f"{there}, for plan {there.plan}" if there else "nothing is frozen")
        if freeze.settled_at is None:
            return Standing(False, f"{freeze}; who had begun to write may not have ended yet")
        if freeze.state == "frozen" and freeze.proved_at is None:
            return Standing(False, f"{freeze}; that nothing writes was not seen yet")
        if freeze.state == "frozen" and (open_to := writable(self._database, freeze)):
            return Standing(False, f"{freeze}; {open_to} write privileges were granted since")
        return Standing(True, f"{freeze}; lifted" if freeze.lifted_at else str(freeze))

    def act(self) -> str:
        around = self.around
        stopped = freeze_writes(
            self._database,
            self._scope,
            incident=around.incident.id,
            plan=around.plan.id,
            by=f"plan {around.plan.id}",
            means=_means(around),
        )
        told = {
            "privileges": stopped.privileges,
            "closed_roles": list(stopped.closed),
            "ended": [str(each) for each in stopped.ended],
            "holes": list(stopped.holes),
            "revoke_s": round(stopped.revoke_s, 4),
            "settle_s": round(stopped.settle_s, 4),
        }
        around.tell("writes.frozen", told)
        return "; ".join([str(stopped), self._prove(), *stopped.holes])

    def _prove(self) -> str:
        """See that nothing writes, and say how. RollbackError where something does, or where too little was seen."""
        around = self.around
        around.advance("watching whether anything writes", 0, None)
        watch_s, strict = (0.0, False) if around.rehearsal else (WATCH_S, True)
        results = proved(around.systems, watch_s=watch_s, guard=around.fence.guard, strict=strict)
        around.tell("writes.proved", {each.name: [each.outcome.value, each.evidence] for each in results})
        if wrong := [each for each in results if each.outcome is Outcome.FAIL]:
            raise RollbackError(
                "Writes are frozen, and yet: " + "; ".join(f"{each.name}: no, {each.evidence}" for each in wrong),
                target=self._database.target,
                state=self.state(),
                next="find who writes and stop it, or exempt it (freeze_exempt_roles in playbook.toml); then go on",
            )
        unseen = [each.name for each in results if each.outcome is Outcome.UNKNOWN]
        if strict and not is_proof(results):
            told = "; ".join(f"{each.name}: {each.evidence}" for each in results if each.name in unseen)
            raise RollbackError(
                f"Writes are frozen, but that nothing writes is not proved. Unknown: {told}",
                target=self._database.target,
                state=self.state(),
                next="name the application's roles (application_roles in playbook.toml) and make the toolkit's role a "
                "member of them, so that it can try; then go on (--resume), or lift the freeze (--abort)",
            )
        return f"{len(results) - len(unseen)} proofs hold" + (f", unknown: {'; '.join(unseen)}" if unseen else "")

    def state(self) -> str:
        return state_of_writes(self._database)

    def partly(self) -> bool:
        freeze = freeze_of(self._database, self.around.plan.id)
        return freeze is not None and freeze.lifted_at is None

    def undo(self) -> str | None:
        """Lift it: what was kept is given back, whatever stage it is in. A freeze that is another plan's is left."""
        there = frozen(self._database)
        if there is None or there.plan != self.around.plan.id:
            return None
        return str(release_writes(self._database, "everything", means=_means(self.around), undone=True))


class ReleasingWrites(Doing):
    """`ReleaseWrites`, carried out: one stage."""

    def __init__(self, action: ReleaseWrites, around: Surroundings) -> None:
        super().__init__(around)
        self.action = action
        self._database = around.systems.database

    def require(self) -> None:
        _require_server(self.around)

    def look(self) -> Standing:
        freeze, stage = freeze_of(self._database, self.around.plan.id), self.action.stage
        if freeze is None:
            there = frozen(self._database)
            return Standing(False, str(there) if there else "nothing is frozen yet")
        if freeze.state == "undone":
            return Standing(True, f"{freeze}; lifted when the plan was aborted")
        if not freeze.released(stage):
            return Standing(False, str(freeze))
        if freeze.stage != stage:
            return Standing(True, str(freeze))
        finding = look_released(self._database, self.around.plan.id, stage)
        if finding.outcome is not Outcome.PASS:
            self.around.tell("writes.differ", {"stage": stage, "evidence": finding.evidence})
        return Standing(True, finding.evidence)

    def act(self) -> str:
        there = freeze_of(self._database, self.around.plan.id)
        if there is None:
            raise RollbackError(
                "This plan has frozen nothing that it could release",
                target=self._database.target,
                state=self.state(),
                next="look at the status of the target",
            )
        came = came_since(self.around.systems, there) if there.stage is None else {}
        released = release_writes(self._database, self.action.stage, means=_means(self.around))
        finding = look_released(self._database, self.around.plan.id, self.action.stage)
        told = {
            "stage": released.stage,
            "privileges": released.privileges,
            "gone": [str(each) for each in released.gone],
            "verified": finding.outcome.value,
            "evidence": finding.evidence,
            "came_while_frozen": came,
        }
        self.around.tell("writes.released", told)
        return f"{released}; {finding.evidence}{_came(came)}"

    def state(self) -> str:
        return state_of_writes(self._database)


def _came(came: dict[str, int]) -> str:
    said = ", ".join(f"{count} {what}" for what, count in came.items())
    return f"; although writes were frozen there came {said}: find out from whom" if came else ""


def _means(around: Surroundings) -> Means:
    """Writes go on while we wait, so it is not for as long as elsewhere."""
    patience = replace(
        around.patience,
        give_up_after_s=min(around.patience.give_up_after_s, GIVE_UP_AFTER_S),
        longest_pause_s=min(around.patience.longest_pause_s, LONGEST_PAUSE_S),
    )
    return Means(around.fence.guard, around.advance, patience, end_blockers=around.end_blockers)


def _require_server(around: Surroundings) -> None:
    around.systems.database.require_session()
    if around.plan.server is not None:
        around.systems.database.require(around.plan.server)

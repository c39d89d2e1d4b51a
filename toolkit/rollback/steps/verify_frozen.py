"""Looking once more before writes are given back: the data, the state table, what production points at. It only reads.

What fails here is mended or given up while nothing is written; afterwards it would be mended under the writers' hands.
It holds what a plan answers for, and no more: what was amiss before the plan must not keep the service shut.
"""

from toolkit.checks import COULD_NOT_LOOK, Check, CheckResult, Finding, Outcome, judge, run_checks, tally
from toolkit.errors import RollbackError
from toolkit.rollback.freeze import freeze_of
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.plan import VerifyFrozen
from toolkit.rollback.state_tables import read_state
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings
from toolkit.verify.checklist import checks_at_rest
from toolkit.verify.verdict import expect

AREA = "before writes return"


class VerifyingFrozen(Doing):
    """`VerifyFrozen`, carried out. Done once it passed in this run, or once writes were given back on its strength."""

    def __init__(self, action: VerifyFrozen, around: Surroundings) -> None:
        super().__init__(around)
        self.action = action
        self._passed = ""

    def require(self) -> None:
        self.around.systems.database.require_session()

    def look(self) -> Standing:
        if self._passed:
            return Standing(True, self._passed)
        freeze = freeze_of(self.around.systems.database, self.around.plan.id)
        if freeze is not None and (freeze.released("webhooks") or freeze.state == "undone"):
            return Standing(True, f"{freeze}; it was looked at before")
        return Standing(False, "not looked at yet")

    def act(self) -> str:
        results = run_checks(self._checks())
        self.around.tell("frozen.verified", {each.name: [each.outcome.value, each.evidence] for each in results})
        if wrong := [each for each in results if each.outcome is Outcome.FAIL]:
            raise RollbackError(
                f"Writes are not given back yet: {_named(wrong)}",
                target=self.around.systems.target.name,
                state=self.state(),
                next="mend it and go on (--resume), or give up, which lifts the freeze and says what it left (--abort)",
            )
        unseen = [each for each in results if each.outcome is Outcome.UNKNOWN]
        if blind := [each for each in unseen if each.evidence.startswith(COULD_NOT_LOOK)]:
            raise RollbackError(
                f"It could not be looked at: {_named(blind)}",
                target=self.around.systems.target.name,
                state=self.state(),
            )
        held = tally(results)["pass"]
        self._passed = f"{held} of {len(results)} hold" + (f"; unknown: {_named(unseen)}" if unseen else "")
        return self._passed

    def state(self) -> str:
        return "writes are still frozen; nothing was changed by looking"

    def undo(self) -> str | None:
        return "nothing to undo: it only looked"

    def _checks(self) -> list[Check]:
        systems, plan = self.around.systems, self.around.plan
        checks = checks_at_rest(systems, expect(systems, self.around.incident))
        if plan.ends_at is not None:
            checks.append(Check("the state table is where the plan ends", AREA, self._version))
        if plan.deployment is not None and not self.around.rehearsal:
            checks.append(Check("production points where the plan ends", AREA, self._deployment))
        return checks

    def _version(self) -> Finding:
        systems, ends_at = self.around.systems, self.around.plan.ends_at
        assert ends_at is not None
        folder = read_folder(systems.target.migrations)
        state = read_state(systems.database, folder, systems.playbook.database.state_table)
        there = (state.version, state.dirty) == (ends_at.to_version, False)
        return judge(there, f"{state.said}; the plan ends at {ends_at.to_version}")

    def _deployment(self) -> Finding:
        systems, wanted = self.around.systems, self.around.plan.deployment
        live = systems.platform.production(systems.production_host).id
        return judge(live == wanted, f"production points at {live}; the plan ends at {wanted}")


def _named(results: list[CheckResult]) -> str:
    return "; ".join(f"{each.name}: {each.evidence}" for each in results)

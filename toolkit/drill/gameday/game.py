"""The drill of a game day: the line's own sandbox, fault, accounting and score; what lies between is left to people.

It adds what only a game day has: further faults, hints, a look at the answer, mending by hand, an end before the end.
Every one of these is in the facilitator's journal, which lies sealed in the private folder and comes beside the
incident at the end.
"""

import contextlib
import shutil
from collections.abc import Mapping
from typing import Any

from toolkit.drill.faults import inject, undo
from toolkit.drill.gameday.combining import why_not
from toolkit.drill.gameday.figures import ANSWER, HINT, GameDayScore, with_help
from toolkit.drill.gameday.hints import Hint, answer_rows, hints_of
from toolkit.drill.gameday.levels import level
from toolkit.drill.gameday.place import sealed_journal
from toolkit.drill.gameday.planning import Plan
from toolkit.drill.gameday.sheets import gather
from toolkit.drill.judgement import BY_HAND
from toolkit.drill.ledger import export_requests, seal
from toolkit.drill.lever import expect_released
from toolkit.drill.line import Drill, Watch
from toolkit.drill.scenario import Scenario, load_scenario
from toolkit.drill.score import Score, moment_of_fault
from toolkit.errors import ToolkitError, UsageError
from toolkit.incident import FACILITATOR_FILE, State
from toolkit.journal import Journal
from toolkit.notebook.kernels import cool_down

ACTOR = "facilitator"
USERS = "users"


class GameDay(Drill):
    """One game day by its plan. What is done when is its director's to say."""

    def __init__(self, plan: Plan, watch: Watch = lambda _p, _d: None) -> None:
        super().__init__(load_scenario(plan.scenario), plan.seed, plan.folder, watch=watch, sandbox_name=plan.sandbox)
        self.plan = plan
        if not (plan.folder / FACILITATOR_FILE).exists():
            self.facilitator = Journal(sealed_journal(), plan.folder.name)

    @property
    def put_in(self) -> list[Scenario]:
        """The faults that are in, the first one first, by the facilitator's journal."""
        done = [entry for entry in self.facilitator.entries() if entry.kind == "fault.done"]
        return [load_scenario(entry.data.get("scenario") or self.plan.scenario) for entry in done]

    def say(self, kind: str, **told: object) -> None:
        """An entry in the facilitator's journal."""
        self.facilitator.append(kind, told, actor=ACTOR)

    def break_now(self) -> None:
        """The first fault. Where no monitor can see it, users report it. What goes wrong is kept and told."""
        self._attempt(self._break)

    def _break(self) -> None:
        self.break_it()
        self._report_what_users_see(self.scenario)
        self._expect_failing()

    def put_on_top(self, scenario: Scenario) -> None:
        """A further fault, now. UsageError, with nothing done, where it cannot come on top of what is in."""
        put_in = self.put_in
        if not put_in:
            raise UsageError("Nothing can come on top yet", state="nothing was done", next="wait for an incident")
        if self.incident.state is State.RESOLVED:
            raise UsageError("The incident is resolved", state="nothing was done", next="toolkit gameday finish")
        expect_released()
        if reason := why_not(put_in, scenario):
            raise UsageError(f"{scenario.name} cannot come on top: {reason}", state="nothing was done")
        named: Mapping[str, Any] = {"scenario": scenario.name, "on_top": len(put_in)}
        self.say("fault.begun", faults=[fault.model_dump() for fault in scenario.faults], **named)
        try:
            done = inject(scenario, self._running.state)
        except ToolkitError as error:
            self.say("fault.refused", why=str(error), **named)
            raise
        self.say("fault.done", faults=done, **named)
        self._report_what_users_see(scenario)

    def _report_what_users_see(self, scenario: Scenario) -> None:
        if not scenario.declared:
            return
        if self.incident.state is None:
            self.incident.open(scenario.severity, [scenario.declared], actor=USERS)
        else:
            self.incident.record("users.reported", {"text": scenario.declared}, actor=USERS)

    def hint(self, by: str) -> tuple[Hint, int]:
        """The next hint, and how many are left. UsageError before an incident is open, and when there is none left."""
        if self.incident.state is None:
            raise UsageError("There is no incident yet, and no hint", next="watch: toolkit gameday status")
        if not (put_in := self.put_in):  # a false alarm
            raise UsageError("There is no hint on this alarm", next="toolkit gameday status")
        hints = hints_of(put_in, level(self.plan.difficulty))
        given = sum(entry.kind == HINT for entry in self.facilitator.entries())
        if given >= len(hints):
            raise UsageError("There is no further hint", next="toolkit gameday answer")
        hint = hints[given]
        self.say(HINT, number=given + 1, cost_s=hint.cost_s, text=hint.text, about=hint.about, by=by)
        return hint, len(hints) - given - 1

    def answer(self, by: str) -> dict[str, object]:
        """The answer key of what is in, or of what will be, with what it teaches."""
        scenarios = self.put_in or [self.scenario]
        self.say(ANSWER, scenarios=[each.name for each in scenarios], by=by)
        told = {each.title: {"story": each.story.strip(), "teaches": each.teaches.strip()} for each in scenarios}
        return {"faults": told, "answers": answer_rows(scenarios)}

    def mend(self, by: str, why: str) -> list[str]:
        """Have done by hand what a scenario says that people do so, and return what it was. UsageError, journaled too,
        where there is nothing of that kind."""
        if self.incident.state is None:
            raise UsageError("There is no incident yet", state="nothing was done")
        scenarios = [each for each in self.put_in if each.undo]
        if not scenarios:
            self.incident.record("action.asked", {"why": why, "found": "nothing to put right by hand"}, actor=by)
            raise UsageError("They looked, and found nothing to put right by hand", state="it was journaled")
        done = [thing for each in scenarios for thing in undo(each, self._running.state)]
        self.incident.record(BY_HAND, {"done": done, "why": why}, actor=by)
        return [str(each["what"]) for each in done]

    def conclude(self, by: str) -> GameDayScore:
        """Settle, account, report and score, as a drill does. What goes wrong stops none of the rest."""
        self.say("gameday.finished", by=by)
        self._unseal()
        self._attempt(self.settle)
        return self._end()

    def abort(self, by: str, why: str) -> GameDayScore:
        """Stop all of it now and keep the evidence. Nothing is settled, so nothing is claimed of the events."""
        self.say("gameday.aborted", by=by, why=why)
        return self.write_off(f"aborted: {why}")

    def write_off(self, why: str) -> GameDayScore:
        """The score of one that cannot be settled any more."""
        self._unseal()
        self._stopped(why)
        if self.sandbox is not None:
            with contextlib.suppress(ToolkitError):
                self.sandbox.stop()
        self._attempt(self._keep_requests)
        return self._end()

    def _keep_requests(self) -> None:
        ledger = self.folder / "ledger.sqlite"
        export_requests(ledger, self.folder / "requests.parquet")
        seal(ledger)

    def _end(self) -> GameDayScore:
        gather(self.folder)
        self._attempt(self._report)
        score = self.finish()
        self.close()
        cool_down()
        assert isinstance(score, GameDayScore)
        return score

    def _judge(self) -> None:
        """As in a drill. What came on top and was not mended is undone as well, where it can be."""
        try:
            super()._judge()
        except ToolkitError:
            for scenario in self.put_in[1:]:
                done = undo(scenario, self._running.state)
                self.say("fault.undone", done=done, scenario=scenario.name)
            raise

    def _scored(self) -> Score:
        entries = self.facilitator.entries()
        return with_help(super()._scored(), self.plan, self.put_in, entries, moment_of_fault(self.folder))

    def _unseal(self) -> None:
        """Bring the facilitator's journal beside the incident. Safe to repeat."""
        sealed, open_ = sealed_journal(), self.folder / FACILITATOR_FILE
        if self.facilitator.path == sealed:
            self.facilitator.release_reserve()
            if sealed.exists():
                shutil.copy2(sealed, open_)
                sealed.unlink()
            self.facilitator = Journal(open_, self.folder.name)

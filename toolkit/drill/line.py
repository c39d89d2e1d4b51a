"""The line of one drill: a sandbox, a steady state, a fault, a monitor that finds it, the notebooks, a score.

The line puts the fault in and steps back. The monitor, a process of its own, opens the incident; then the same
notebooks run as in an emergency, against the target `sandbox`. The facilitator's journal, which holds what broke and
when, is sealed from them. Whatever happens, the traffic is settled, the events are accounted for, the score is written.
"""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from toolkit.clock import utc_now, wait_until
from toolkit.drill.answering import answer_in_drill
from toolkit.drill.faults import inject, undo
from toolkit.drill.hypothesis import Figures, Look, figures, holds, look
from toolkit.drill.ledger import Accounting, account, export_requests, seal
from toolkit.drill.lever import expect_released
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.scenario import Response, Scenario
from toolkit.drill.score import SCORE_FILE, Score, moment_of_fault, score_drill
from toolkit.drill.state import SandboxOptions, check_seed
from toolkit.drill.steady import TARGET, expect_target, record_steady_state
from toolkit.errors import DeadlineExceeded, ToolkitError
from toolkit.incident import FACILITATOR_FILE, Incident, State
from toolkit.journal import Journal
from toolkit.notebook.kernels import cool_down, warm_up
from toolkit.notebook.run import run_notebook
from toolkit.playbook import load_playbook
from toolkit.redaction import redact

RESPONDER = "drill"
CELL_WITHIN_S = 150  # longer than a backup waits for a lock before it names who is in the way
PHASES = {"01_assess": "assess", "02_stabilize": "stabilize", "03_rollback": "roll back", "04_verify": "verify"}
POST_MORTEM = "05_postmortem"
DESTROYING = "03_rollback"
ACTING = ("02_stabilize", "03_rollback")
FAILS_WITHIN_S, HOLDS_WITHIN_S = 40.0, 40.0

Watch = Callable[[str, "Drill"], None]


def drill_folder(reports: Path, scenario: str, seed: int) -> Path:
    """`<reports>/drills/<UTC time>-<scenario>-<seed>`, which does not exist yet."""
    return reports / "drills" / f"{utc_now():%Y%m%dT%H%M%SZ}-{scenario}-{seed}"


class Drill:
    """One run, step by step or whole. `watch` hears each phase as it begins; `phases` holds seconds by name.

    By hand (notebook `10_drill`): `start`, `break_it`, `wait_for_incident`, the functions of 01 to 04, `settle`, the
    post-mortem, `finish`. `run` does the same with the notebooks. `answer`: of what kind, where not as the scenario's
    response. `cloned`: on a copy of a filled data folder, as one of many.

    Raises UsageError for a number that is no seed, and a playbook that is malformed or knows no sandbox.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        folder: Path,
        *,
        keep: bool = False,
        watch: Watch = lambda _p, _d: None,
        database_url_env: str = "",
        answer: str = "",
        cloned: bool = False,
        sandbox_name: str = "",
    ) -> None:
        check_seed(seed)
        expect_target()
        self.scenario, self.seed, self.folder, self.keep, self.watch = scenario, seed, folder, keep, watch
        self._database_url_env, self._cloned = database_url_env, cloned
        self._sandbox_name = sandbox_name or f"drill-{os.getpid()}-{seed}"
        self._response = scenario.answered_by(answer).steps if answer else scenario.response
        self._before: Figures = {}
        self.phases: dict[str, float] = {}
        self.incident = Incident(folder)
        self.facilitator = Journal(folder / FACILITATOR_FILE, folder.name)
        self.sandbox: Sandbox | None = None
        self.accounting: Accounting | None = None
        self.steady_state: Mapping[str, Any] = {}
        self.stopped_by: str | None = None
        self._ends = contextlib.ExitStack()

    def run(self) -> Score:
        """From start to score. What stops the line is kept in the score; only an interruption goes on upwards.

        Raises ToolkitError when the sandbox does not come up, and when the score itself cannot be written.
        """
        warm_up()
        try:
            self.start()
            for part in (self._respond, self.settle, self._report):
                self._attempt(part)
            return self.finish()
        except KeyboardInterrupt:
            self._stopped("interrupted")
            self._attempt(self.finish)
            raise
        finally:
            self.close()
            cool_down()

    def _respond(self) -> None:
        self.break_it()
        self.wait_for_incident()
        for response in self._response:
            with self._phase(PHASES.get(response.notebook, "by hand")):
                self._carry_out(response)

    def _expect_failing(self) -> None:
        """A fault during which all is as it should be is none."""
        self._look_until("during", False, FAILS_WITHIN_S)

    def _judge(self) -> None:
        """Whether the answer helped, as senders and data see it. Whoever answered is not asked. Where it did not help,
        the facilitator undoes the fault, where it can be undone: nobody could read what became of the events.
        """
        with self._phase("judge"):
            try:
                # where the answer was not carried out, there is nothing to wait for
                self._look_until("after", True, HOLDS_WITHIN_S if self.stopped_by is None else 0)
            except ToolkitError:
                done = undo(self.scenario, self._running.state)
                self.facilitator.append("fault.undone", {"done": done}, actor="facilitator")
                raise

    def _look_until(self, when: str, wanted: bool, within: float) -> None:
        """Look at the hypothesis until it is found so, or the time is up, and journal what was seen last."""
        seen: list[Look] = []

        def as_wanted() -> bool:
            seen[:] = look(self.scenario.hypothesis, self._running.state, self._before)
            return holds(seen) is wanted

        with contextlib.suppress(DeadlineExceeded):
            wait_until(as_wanted, within=within, what="the hypothesis", every=0.3)
        told = {"when": when, "holds": holds(seen), "looks": [each.row() for each in seen]}
        self.facilitator.append("hypothesis.looked", told, actor="facilitator")
        if holds(seen) is not wanted:
            found = "does not hold" if wanted else "holds"
            raise ToolkitError(f"The steady-state hypothesis {found} {when} the fault: {_words(seen)}")

    def _carry_out(self, response: Response) -> None:
        """Take one step of the response. A notebook that must be refused and is not stops it, as a failure does."""
        self._running.check()
        if response.by_hand:
            self._put_right()
            return
        if response.notebook == DESTROYING:
            answer_in_drill(self.incident, load_playbook(), by=RESPONDER)
        try:
            self._run_notebook(response.notebook, response.parameters)
        except ToolkitError as error:
            if not response.refused or response.refused not in str(error):
                raise
            return
        if response.refused:
            raise ToolkitError(f"{response.notebook} should have been refused: {response.refused}")

    def _put_right(self) -> None:
        """By hand, as a person does, who journals what was done; and a deployment as the one to go on with."""
        done = undo(self.scenario, self._running.state)
        self.incident.record("action.by_hand", {"done": done}, actor=RESPONDER)
        for deployment in (each["deployment"] for each in done if "deployment" in each):
            told = {"about": "rollback", "kind": "fix-forward", "to": deployment, "by": RESPONDER, "follows": False}
            told |= {"what": f"fix forward to {deployment}", "why": "built again, with what was wrong put right"}
            self.incident.record("decision.made", told | {"recommended": ""}, actor=RESPONDER)

    def _report(self) -> None:
        with self._phase("post-mortem"):
            self._run_notebook(POST_MORTEM)

    def _attempt(self, part: Callable[[], object]) -> None:
        """Whatever stops one part is kept, and does not stop the next."""
        try:
            part()
        except (ToolkitError, OSError, psycopg.Error) as error:
            self._stopped(redact(str(error)).strip() or type(error).__name__)

    def start(self) -> None:
        """A sandbox under traffic, with a monitor that watches it; and what is normal, measured and recorded.

        Where it does not come to that, nothing is left: neither a sandbox nor the folder.
        """
        expect_released()
        self.folder.mkdir(parents=True)
        try:
            self._set_up()
        except Exception:
            self._end_sandbox()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _set_up(self) -> None:
        told = {"scenario": self.scenario.name, "seed": self.seed, "target": TARGET}
        self.facilitator.append("drill.started", told, actor="facilitator")
        with self._phase("sandbox"):
            self.sandbox = self._start_sandbox()
            self._ends.enter_context(_environment(self.sandbox.state.environment()))
        with self._phase("steady state"):
            self.steady_state = record_steady_state(self.sandbox.state, self.scenario.steady_s)
            self.facilitator.append("steady_state.measured", self.steady_state, actor="facilitator")
            self._before = figures(self.scenario.hypothesis, self.sandbox.state)
            self._look_until("before", True, HOLDS_WITHIN_S)

    def break_it(self) -> None:
        """Put the fault in. Only the facilitator's journal learns of it. ToolkitError after a false alarm."""
        if self.incident.state is not None:
            raise _false_alarm()
        expect_released()
        threading.Event().wait(self.scenario.moment_s(self.seed))
        with self._phase("fault"):
            faults = [fault.model_dump() for fault in self.scenario.faults]
            self.facilitator.append("fault.begun", {"faults": faults}, actor="facilitator")
            done = inject(self.scenario, self._running.state)
            self.facilitator.append("fault.done", {"faults": done}, actor="facilitator")

    def wait_for_incident(self) -> None:
        """Until the monitor has opened an incident.

        Raises ToolkitError when it does not, when it did before the fault, and when a part of the sandbox ended.
        """
        within = self.scenario.detect_within_s

        def opened() -> bool:
            self._running.check()
            return self.incident.state is not None

        with self._phase("detect"):
            if self.scenario.declared and not opened():  # what no monitor sees, somebody tells
                self.incident.open(self.scenario.severity, [self.scenario.declared], actor=RESPONDER)
            wait_until(opened, within=within, what="the monitor to open an incident", every=0.1)
        begun, found = moment_of_fault(self.folder), self.incident.moment(State.OPEN)
        if begun and found and found < begun:
            raise _false_alarm()
        self._attempt(self._expect_failing)

    def settle(self) -> None:
        """Stop the traffic, let the senders deliver what is left, and account for every event."""
        ledger = self.folder / "ledger.sqlite"
        self._attempt(self._running.check)  # a part that died spoils the drill, but not the accounting
        if moment_of_fault(self.folder):
            self._attempt(self._judge)
        with self._phase("settle"):
            self._running.stop_monitor()  # first: the silence that follows is no incident
            self._running.stop_traffic()
            self.facilitator.append("traffic.stopped", {}, actor="facilitator")
            with psycopg.connect(self._running.state.admin_url) as conn:
                self.accounting = account(ledger, conn)
            self.facilitator.append("accounting.made", asdict(self.accounting), actor="facilitator")
            export_requests(ledger, self.folder / "requests.parquet")
            seal(ledger)

    def finish(self) -> Score:
        """Write the score, on a full disk into the room that the facilitator's journal kept. Without `settle` before it
        nothing is claimed of the events. Raises ToolkitError where it cannot be written.
        """
        score = self._scored()
        ended = {"outcome": score.outcome, "exit_code": score.exit_code}
        self.facilitator.append("drill.ended", ended, actor="facilitator")
        score = score.model_copy(update={"facilitator_head": asdict(self.facilitator.head())})
        self.facilitator.release_reserve()
        self._write_score(score)
        return score

    def _scored(self) -> Score:
        name, stopped_by = self.scenario.name, self.stopped_by
        return score_drill(self.folder, name, self.seed, self.accounting, self.phases, stopped_by)

    def _write_score(self, score: Score) -> None:
        """Whole, or not at all."""
        fresh = self.folder / f".{SCORE_FILE}.new"
        try:
            fresh.write_text(score.model_dump_json(indent=2) + "\n")
            fresh.replace(self.folder / SCORE_FILE)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            before = f", and before that: {self.stopped_by}" if self.stopped_by else ""
            raise ToolkitError(
                f"The score cannot be written: {error.strerror}{before}",
                target=str(self.folder),
                state="there is no score; the evidence so far is in that folder",
                next="make room there, then run the drill again into another folder",
            ) from error

    def close(self) -> None:
        """End the sandbox, unless it is to be kept. Safe to repeat."""
        if not self.keep:
            self._end_sandbox()
        self._ends.close()

    def steady_state_rows(self) -> list[dict[str, object]]:
        """What was normal before anything broke, a figure a row."""
        return [{"figure": name, "before": value} for name, value in self.steady_state.items()]

    def _end_sandbox(self) -> None:
        self._ends.close()
        if self.sandbox is not None:
            self.sandbox.stop()

    @property
    def _running(self) -> Sandbox:
        assert self.sandbox is not None, "start comes first"
        return self.sandbox

    def _start_sandbox(self) -> Sandbox:
        options = SandboxOptions(
            evidence=self.folder.resolve(),
            seed=self.seed,
            database_url_env=self._database_url_env,
            cloned=self._cloned,
            **self.scenario.sandbox.model_dump(),
        )
        name = self._sandbox_name
        return Sandbox.start(name, options, attached=not self.keep, progress=lambda part: self.watch(part, self))

    def _run_notebook(self, name: str, more: Mapping[str, str | bool | int] | None = None) -> None:
        parameters: dict[str, str | bool | int] = {"incident": str(self.folder.resolve()), "operator": RESPONDER}
        if name != POST_MORTEM:
            parameters["target"] = TARGET
        if name in ACTING:
            parameters["execute"] = True
        parameters |= more or {}
        output = self._free_output(name)
        try:
            done = run_notebook(name, output, parameters, within_s=CELL_WITHIN_S)
        except ToolkitError as error:
            self.incident.record("notebook.failed", {"notebook": name, "error": str(error)}, actor=RESPONDER)
            raise
        finished = {"notebook": name, "output": output.name, "seconds": done.seconds}
        self.incident.record("notebook.finished", finished, actor=RESPONDER)

    def _free_output(self, name: str) -> Path:
        """Where the executed notebook goes: what ran before under that name stays."""
        number = 1
        while (path := self.folder / "notebooks" / f"{name}{'' if number == 1 else f'-{number}'}.ipynb").exists():
            number += 1
        return path

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self.watch(name, self)
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(self.phases.get(name, 0.0) + time.monotonic() - began, 3)

    def _stopped(self, why: str) -> None:
        """The first thing that stopped the line is the one that counts."""
        self.stopped_by = self.stopped_by or why
        self.facilitator.append("drill.stopped", {"why": why}, actor="facilitator")


def _words(looks: Sequence[Look]) -> str:
    """What was not as it should be, or all of it."""
    wrong = [each for each in looks if each.holds is not True] or looks
    return "; ".join(f"{each.what} ({each.seen})" for each in wrong)


def _false_alarm() -> ToolkitError:
    return ToolkitError(
        "An incident was open before anything was broken: a false alarm detects nothing",
        next="read the incident's journal: see what the monitor took for a signal, and what kept the sandbox busy",
    )


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set the variables for this process and its children, and set them back."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

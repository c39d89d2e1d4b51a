"""The director of a game day: a process that owns the schedule and everything that runs in it.

    start ──► director ──► sandbox (attached: it ends with the director)
              commands, notebooks ──ask──► director

It starts the sandbox, waits for a moment that nobody was told, breaks it, and puts further faults in. In between it
answers one question after the other. Whoever started it may close the terminal; it ends when the game day does.
"""

import contextlib
import queue
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import psutil

from toolkit.clock import utc_now
from toolkit.drill.gameday.combining import on_top
from toolkit.drill.gameday.figures import GameDayScore
from toolkit.drill.gameday.game import GameDay
from toolkit.drill.gameday.levels import level
from toolkit.drill.gameday.place import GameDayState, kept_plan
from toolkit.drill.gameday.planning import Plan
from toolkit.drill.gameday.sheets import lay_out
from toolkit.drill.gameday.talking import Answer, Ear, Question
from toolkit.drill.keeper import end_unless_let_go, say
from toolkit.drill.scenario import load_scenario
from toolkit.errors import ToolkitError, UsageError
from toolkit.redaction import redact

LOOKED_EVERY_S = 0.5
KEY_BYTES = 32


class Director:
    """One game day from its start to its end."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.game = GameDay(plan, watch=lambda phase, _game: say(phase))
        self._due: list[tuple[float, str]] = []  # seconds after all was steady, and what; '': the first
        self._begun = 0.0
        key = secrets.token_hex(KEY_BYTES)
        self._ear = Ear(key)
        me = psutil.Process()
        self.state = GameDayState(
            pid=me.pid,
            started=me.create_time(),
            port=self._ear.port,
            key=key,
            folder=plan.folder.resolve(),
            sandbox=plan.sandbox,
            since=utc_now(),
            difficulty=plan.difficulty,
            hidden=plan.hidden,
            told=plan.told(),
        )

    def set_up(self, operator: str) -> None:
        """Sandbox, steady state, notebooks. Raises ToolkitError, with nothing left, when it does not come to that."""
        self.game.start()
        plan = self.plan
        drawn = {"breaks_after_s": plan.breaks_after_s, "injects": [each.scenario for each in plan.injects]}
        self.game.say("gameday.started", difficulty=plan.difficulty, hidden=plan.hidden, **drawn)
        self.state.sheets = lay_out(self.plan.folder, operator)
        self._begun = time.monotonic()
        moment = self.plan.breaks_after_s
        self._due = [(moment, "")]
        for each in self.plan.injects:
            moment += each.after_s
            self._due.append((moment, each.scenario))
        self.state.write()

    def play(self) -> None:
        """Until it has ended: answer, and do what is due."""
        while not self.state.ended:
            with contextlib.suppress(queue.Empty):
                self._take(self._ear.heard.get(timeout=self._patience()))
            if not self.state.ended:
                self._do_what_is_due()
                self._look_after_the_sandbox()

    def _patience(self) -> float:
        """Until the next thing is due, or the next look."""
        until = self._due[0][0] - self._clock() if self._due else LOOKED_EVERY_S
        return max(0.0, min(LOOKED_EVERY_S, until))

    def _clock(self) -> float:
        return time.monotonic() - self._begun

    def _do_what_is_due(self) -> None:
        if not self._due or self._clock() < self._due[0][0]:
            return
        _, name = self._due.pop(0)
        if not name:
            self.game.break_now()
            return
        try:
            self.game.put_on_top(load_scenario(name))
        except ToolkitError as error:
            self.game.say("inject.dropped", scenario=name, why=str(error))

    def _look_after_the_sandbox(self) -> None:
        """Tell of what spoils the game day, once."""
        trouble = self.game.stopped_by or self._trouble()
        if trouble and not self.state.trouble:
            self.state.trouble = redact(trouble)
            self.state.write()

    def _trouble(self) -> str:
        try:
            if self.game.sandbox is not None:
                self.game.sandbox.check()
        except ToolkitError as error:
            return error.what
        return ""

    def _take(self, question: Question) -> None:
        """Answer it, or say why not. What fails here must not end the game day."""
        try:
            answer = self._answer(question)
        except ToolkitError as error:
            question.refuse(error)
        except Exception as error:
            question.refuse(ToolkitError(redact(f"The director failed: {type(error).__name__}: {error}")))
            if question.what in ("finish", "abort"):
                raise
        else:
            question.answer(answer)

    def _answer(self, question: Question) -> Answer:
        by = str(question.more.get("by") or "responder")
        match question.what:
            case "hint":
                return self._hint(by)
            case "answer":
                self.state.answer_seen = True
                self.state.write()
                return self.game.answer(by)
            case "inject":
                return self._inject(str(question.more.get("scenario") or ""))
            case "mend":
                return {"done": self.game.mend(by, str(question.more.get("why") or ""))}
            case "finish":
                return self._ended(lambda: self.game.conclude(by))
            case "abort":
                return self._ended(lambda: self.game.abort(by, str(question.more.get("why") or "")))
        raise UsageError(f"The director knows no {question.what!r}")

    def _hint(self, by: str) -> Answer:
        hint, left = self.game.hint(by)
        self.state.hints += 1
        self.state.hints_cost_s += hint.cost_s
        self.state.write()
        return {"hint": hint.text, "cost_s": hint.cost_s, "hints": self.state.hints, "left": left}

    def _inject(self, name: str) -> Answer:
        """The one that is named; else one that can come on top."""
        put_in = self.game.put_in
        if not name and put_in:
            kinds = level(self.plan.difficulty).inject_kinds
            possible = on_top(put_in, kinds) or on_top(put_in)
            if not possible:
                raise UsageError("No fault can come on top of what is broken", state="nothing was done")
            name = secrets.choice(possible)
        self.game.put_on_top(load_scenario(name or self.plan.scenario))
        return {"inject": "done"}

    def _ended(self, end: Callable[[], GameDayScore]) -> Answer:
        score = end()
        self.state.end()
        return {"score": score.model_dump(mode="json"), "folder": str(self.plan.folder.resolve())}


def main() -> None:
    """`python -m toolkit.drill.gameday.director OPERATOR`: play the plan that the private folder holds."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the player's terminal may close
    threading.Thread(target=end_unless_let_go, daemon=True).start()
    director: Director | None = None
    try:
        director = Director(kept_plan())
        director.set_up(sys.argv[1])
        say("ready", ready=True)
        director.play()
    except ToolkitError as error:
        say("failed", failed={"what": error.what, "next": error.next, "exit_code": error.exit_code})
        raise
    finally:
        if director is not None:
            director.game.close()


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)


if __name__ == "__main__":
    main()

"""The game day that runs, for commands and notebooks: how it stands, what can be asked of it, how it is ended.

Whatever became of its director, it can be ended: one that died has left its evidence, one that hangs is killed.
"""

import contextlib
import os
import signal
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toolkit.analysis.words import duration
from toolkit.clock import utc_now, wait_until
from toolkit.drill.gameday.figures import GameDayScore
from toolkit.drill.gameday.place import GameDayState, kept_plan, no_game_day
from toolkit.drill.gameday.talking import Answer, ask
from toolkit.drill.ledger import LiveRates, live
from toolkit.drill.lever import Held, hold
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.score import SCORE_FILE
from toolkit.errors import ToolkitError, UsageError
from toolkit.incident import Incident, State

ASK_WITHIN_S = 60.0
FINISH_WITHIN_S = 300.0
ABORT_WITHIN_S = 60.0
GONE_WITHIN_S = 60.0
LIVE_S = 3.0


@dataclass(frozen=True)
class Standing:
    """How it stands, as far as whoever plays may know. `running_s` and `incident_s` are seconds; the latter None before
    an incident is open, and until its resolution. `rates` are the senders' of the last three seconds.
    """

    state: GameDayState
    incident: Incident
    running_s: float
    incident_s: float | None
    rates: LiveRates

    @property
    def phase(self) -> str:
        """running, ended, or died: its director is gone and the score is not written."""
        if self.state.ended:
            return "ended"
        return "running" if self.state.alive else "died"

    def figures(self) -> dict[str, str]:
        """What a board shows of it, in words, by its name."""
        rates, incident = self.rates, self.incident
        return {
            "game day": f"{self.phase}, for {duration(self.running_s)}",
            "incident": str(incident.state or "none"),
            "its clock": "no incident is open" if self.incident_s is None else duration(self.incident_s),
            "severity": str(incident.severity or "none"),
            "requests": f"{rates.requests / LIVE_S:.0f} a second",
            "failing": "nothing was sent" if rates.error_rate is None else f"{rates.error_rate:.1%}",
            "95th percentile": "nothing was sent" if rates.p95_ms is None else f"{rates.p95_ms:.0f} ms",
            "hints": f"{self.state.hints}, at {self.state.hints_cost_s:g} s",
        }


def latest() -> GameDayState:
    """The game day that runs, or the last one. UsageError where there was none."""
    if (state := GameDayState.read()) is None:
        raise no_game_day()
    return state


def playing() -> GameDayState:
    """One that has not ended. UsageError where there is none."""
    if (state := latest()).ended:
        raise no_game_day()
    return state


def look(now: datetime | None = None) -> Standing:
    """How the latest game day stands. Needs no director. UsageError where there was none."""
    state, now = latest(), now or utc_now()
    incident = Incident(state.folder)
    opened, over = incident.moment(State.OPEN), incident.moment(State.RESOLVED)
    return Standing(
        state,
        incident,
        running_s=((state.over or now) - state.since).total_seconds(),
        incident_s=((over or now) - opened).total_seconds() if opened else None,
        rates=live(state.folder / "ledger.sqlite", LIVE_S),
    )


def hint(by: str) -> Answer:
    """The next one: {'hint', 'cost_s', 'hints', 'left'}. Raises as `ask`."""
    return ask(playing(), "hint", within_s=ASK_WITHIN_S, by=by)


def answer(by: str) -> Answer:
    """The answer key: {'faults': by title, 'answers': rows}. It is journaled, and in the score."""
    return ask(playing(), "answer", within_s=ASK_WITHIN_S, by=by)


def inject(scenario: str) -> Answer:
    """A further fault, now; '' for one that can come on top."""
    return ask(playing(), "inject", within_s=ASK_WITHIN_S, scenario=scenario)


def mend(by: str, why: str) -> Answer:
    """Have put right by hand what only a person can: {'done': what}."""
    return ask(playing(), "mend", within_s=ASK_WITHIN_S, by=by, why=why)


def finish(by: str) -> tuple[GameDayScore, Path]:
    """End it: settle, account, report, score. Also for one whose director died; of its events nothing is claimed."""
    state = playing()
    if not state.alive:
        return write_off(state), state.folder
    said = ask(state, "finish", within_s=FINISH_WITHIN_S, by=by)
    return GameDayScore.model_validate(said["score"]), Path(said["folder"])


def abort(by: str, why: str) -> tuple[Held, Path | None]:
    """Pull the lever, then stop all that runs; returns the folder of the evidence, None where no game day ran."""
    held = hold(by, why)
    state = GameDayState.read()
    if state is None or state.ended:
        return held, None
    if state.alive:
        with contextlib.suppress(ToolkitError):
            ask(state, "abort", within_s=ABORT_WITHIN_S, by=by, why=why)
            return held, state.folder
    write_off(state, f"aborted: {why}")
    return held, state.folder


def write_off(state: GameDayState, why: str = "its director ended by itself") -> GameDayScore:
    """End a game day without its director, which is killed where it still runs: nothing goes on, the evidence is kept,
    the score is what can be told of it."""
    from toolkit.drill.gameday.game import GameDay  # it brings papermill along, which takes seconds

    if state.alive:
        os.kill(state.pid, signal.SIGKILL)
    wait_until(lambda: not state.alive, within=GONE_WITHIN_S, what="the game day's director to end")
    with contextlib.suppress(UsageError):
        if (sandbox := Sandbox.find(state.sandbox)).evidence == state.folder:  # not one that somebody started since
            sandbox.stop()
    score = GameDay(kept_plan()).write_off(why)
    state.trouble = why
    state.end()
    return score


def score_of(folder: Path) -> GameDayScore:
    """The score that a finished game day left. ToolkitError where there is none."""
    try:
        return GameDayScore.model_validate_json((folder / SCORE_FILE).read_text())
    except (OSError, ValueError):
        raise ToolkitError(
            "There is no score of this game day", target=str(folder), next="toolkit gameday status"
        ) from None

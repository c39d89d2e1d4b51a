"""The score of a game day: a drill's, and beside it what help was taken. No figure of the one goes into the other."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from toolkit.drill.gameday.planning import Plan
from toolkit.drill.judgement import Decision
from toolkit.drill.scenario import Scenario
from toolkit.drill.score import Score
from toolkit.journal import Entry

HINT, ANSWER = "hint.given", "answer.shown"


class FaultAnswered(BaseModel):
    """One fault that was put in, and whether one of the things done was right for it, by its own key."""

    model_config = ConfigDict(frozen=True)

    scenario: str
    verdict: str


class GameDayFigures(BaseModel):
    """What help was taken, as the facilitator's journal has it, and each fault's answer. `answer_seen_s` is seconds
    from the first fault until the answer was looked at, None where it was not."""

    model_config = ConfigDict(frozen=True)

    difficulty: str
    hidden: bool
    hints: int
    hints_cost_s: float
    answer_seen_s: float | None
    faults: tuple[FaultAnswered, ...]


class GameDayScore(Score):
    """What `score.json` holds after a game day."""

    game_day: GameDayFigures

    def rows(self) -> list[dict[str, object]]:
        """A drill's, and the help that was taken, a figure a row."""
        had, seen = self.game_day, self.game_day.answer_seen_s
        further: dict[str, object] = (
            {f"fault: {each.scenario}": each.verdict for each in had.faults} if len(had.faults) > 1 else {}
        )
        names: dict[str, object] = further | {
            "difficulty": f"{had.difficulty}{', hidden' if had.hidden else ''}",
            "hints / their cost": f"{had.hints} / {had.hints_cost_s:g} s, in no time above",
            "answer looked at": "no" if seen is None else f"yes, {seen:.0f} s after the fault",
        }
        return [*super().rows(), *({"figure": name, "value": value} for name, value in names.items())]


def with_help(
    score: Score, plan: Plan, put_in: Sequence[Scenario], entries: Sequence[Entry], broke_at: datetime | None
) -> GameDayScore:
    """A drill's score as a game day's. `put_in` are all faults in order, `entries` the facilitator's."""
    given = [entry for entry in entries if entry.kind == HINT]
    seen = next((entry.at for entry in entries if entry.kind == ANSWER), None)
    answered = tuple(FaultAnswered(scenario=each.name, verdict=_verdict(each, score.decision)) for each in put_in)
    figures = GameDayFigures(
        difficulty=plan.difficulty,
        hidden=plan.hidden,
        hints=len(given),
        hints_cost_s=sum(float(entry.data["cost_s"]) for entry in given),
        answer_seen_s=round((seen - broke_at).total_seconds(), 3) if seen and broke_at else None,
        faults=answered,
    )
    decided = score.decision
    if len(answered) > 1 and decided.done:  # what was right for one of them is not wrong because it came first
        right = all(each.verdict == "right" for each in answered)
        decided = decided.model_copy(update={"verdict": "right" if right else "wrong"})
    return GameDayScore(**dict(score) | {"decision": decided, "game_day": figures})


def _verdict(scenario: Scenario, decided: Decision) -> str:
    verdicts = [scenario.verdict(kind) for kind in decided.done]
    if not verdicts:
        return "not answered"
    return "right" if "right" in verdicts else verdicts[-1]

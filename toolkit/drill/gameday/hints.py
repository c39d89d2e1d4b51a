"""What the facilitator may tell of a scenario: hints, each nearer to the answer than the one before, and the answer.

All of it is taken from the scenario's file. A hint has its cost; the sum is a figure of its own in the score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.drill.gameday.levels import Level
from toolkit.drill.scenario import ROLLBACKS, Scenario


@dataclass(frozen=True)
class Hint:
    """`cost_s` is in seconds. `about` is the scenario's name, for the facilitator's journal."""

    text: str
    cost_s: float
    about: str


def hints_of(put_in: Sequence[Scenario], level: Level) -> list[Hint]:
    """All hints, in the order in which they are given: those on one fault, then those on what came on top."""
    found = []
    for number, scenario in enumerate(put_in, start=1):
        which = "" if len(put_in) == 1 else f"Fault {number} of {len(put_in)}. "
        texts = (_first_sign(scenario), _type(scenario), _right_answer(scenario))
        costs = [*level.hint_costs_s, *[level.hint_costs_s[-1]] * len(texts)]
        found += [Hint(which + text, cost, scenario.name) for text, cost in zip(texts, costs, strict=False)]
    return found


def answer_rows(put_in: Sequence[Scenario]) -> list[dict[str, str]]:
    """The answer key, an answer a row: fault, answer, by the key, what, what comes of it."""
    return [
        {"fault": scenario.title, "answer": each.rollback, "by the key": verdict}
        | {"what": each.what, "what comes of it": each.comes_of_it}
        for scenario in put_in
        for verdict, answers in (("right", scenario.right_answers), ("wrong", scenario.wrong_answers))
        for each in answers
    ]


def _first_sign(scenario: Scenario) -> str:
    if scenario.declared:
        return f"No monitor sees it ({scenario.severity}). Read again what was reported, and take it at its word."
    return f"The first sign is the signal `{scenario.signal}` ({scenario.severity}). Begin where that is measured."


def _type(scenario: Scenario) -> str:
    kind = scenario.rollback_type
    if kind in ROLLBACKS:
        return f"It wants a rollback of type {ROLLBACKS.index(kind) + 1}: {kind}."
    return "No rollback mends it. Find what stands in the way, and have it put right by hand (toolkit gameday mend)."


def _right_answer(scenario: Scenario) -> str:
    return f"The right answer: {scenario.right_answers[0].what}"

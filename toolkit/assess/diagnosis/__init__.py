"""The playbook's appendix as bounded questions: each answered by a table, and what is unusual in it told in words.

on_database   connections, long queries, locks, tables, statistics, replication, statements, indexes
on_platform   deployments, names of variables, health endpoints

It reads in transactions with time limits, changes nothing, and shows no query's values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from toolkit.adapters.postgres import Connection
from toolkit.adapters.systems import Systems
from toolkit.assess.asking import Asked, Deadline, Seen
from toolkit.assess.diagnosis import on_database, on_platform
from toolkit.assess.diagnosis.answer import Answer, Row

WITHIN_S = 10.0
QUESTION_WITHIN_MS = 1500


@dataclass(frozen=True)
class Diagnosis:
    """One question's answer. `trouble`: why there is none. `instead_of`: the playbook's command that it replaces."""

    name: str
    instead_of: str
    rows: Sequence[Row]
    unusual: Sequence[str]
    trouble: str = ""

    def to_json(self) -> dict[str, object]:
        return vars(self)


def diagnose(systems: Systems, *, within_s: float = WITHIN_S) -> list[Diagnosis]:
    """Every question side by side, each over a line of its own. Raises nothing: what does not answer is trouble."""
    deadline = Deadline(within_s)
    asks: dict[str, tuple[str, Callable[[], Answer]]] = {
        name: (instead, partial(_of_database, systems, ask))
        for name, (instead, ask) in on_database.questions(systems.playbook).items()
    }
    asks |= {name: (instead, partial(ask, systems)) for name, (instead, ask) in on_platform.QUESTIONS.items()}
    asked = {name: (instead, Asked(ask)) for name, (instead, ask) in asks.items()}
    return [_diagnosis(name, instead, each.taken(deadline)) for name, (instead, each) in asked.items()]


def _of_database(systems: Systems, ask: Callable[[Connection], Answer]) -> Answer:
    with systems.database.reading(within_ms=QUESTION_WITHIN_MS) as conn:
        return ask(conn)


def _diagnosis(name: str, instead: str, seen: Seen[Answer]) -> Diagnosis:
    if seen.value is None:
        return Diagnosis(name, instead, (), (), seen.trouble or "no answer")
    return Diagnosis(name, instead, seen.value.rows, seen.value.unusual)

"""A scenario: a small file of data that says what breaks, how it shows, what the right answer is and what it teaches.

Owns reading and checking them. What a fault does is code, in `faults`.
"""

import random
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolkit.drill.fault_kinds import Fault
from toolkit.drill.hypothesis import Hypothesis
from toolkit.errors import UsageError
from toolkit.playbook import Severity

FOLDER = Path(__file__).parent / "scenarios"

Seconds = Annotated[float, Field(gt=0)]
Kind = Literal["migration", "application", "restore", "emergency", "fix-forward", "wait"]
ROLLBACKS: tuple[Kind, ...] = ("migration", "application", "restore", "emergency")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Response(_Part):
    """One step of the response: a notebook with its parameters, or what a person does by hand ('undo': the scenario's
    undoing). `refused`: what the notebook must refuse with, where it must."""

    notebook: str = ""
    parameters: Mapping[str, str | bool | int] = {}
    refused: str = ""
    by_hand: Literal["", "undo"] = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.notebook) == bool(self.by_hand):
            raise ValueError("a step is a notebook or done by hand")
        return self


def _notebooks(**parameters: str | bool | int) -> tuple[Response, ...]:
    settled = {"settled": "the rows were looked at: who came after the backup keeps the value that is there"}
    return (
        Response(notebook="01_assess"),
        Response(notebook="02_stabilize"),
        Response(notebook="03_rollback", parameters=parameters),
        Response(notebook="04_verify", parameters=settled if "backup_restore" in parameters else {}),
    )


AS_RECOMMENDED = _notebooks()
FOUND_BY_THEMSELVES = ("migration", "application")
RESPONSES: Mapping[Kind, tuple[Response, ...]] = {
    "migration": _notebooks(migration_target="last-stable"),
    "application": _notebooks(deployment="previous"),
    "restore": _notebooks(backup_restore="newest"),
    "emergency": _notebooks(full_emergency=True),
    "fix-forward": (AS_RECOMMENDED[0], Response(by_hand="undo"), AS_RECOMMENDED[3]),
    "wait": (AS_RECOMMENDED[0], AS_RECOMMENDED[3]),
}


class Answer(_Part):
    """What one may do about it, and what comes of it. Without a `response` it is done as its kind is usually done."""

    rollback: Kind
    what: str
    comes_of_it: str
    response: tuple[Response, ...] = ()

    @property
    def steps(self) -> tuple[Response, ...]:
        return self.response or RESPONSES[self.rollback]


class Patient(_Part):
    """How large and how busy the sandbox is, where it is not as usual. Rates are per second."""

    events: int = 20_000
    cases: int = 5_000
    webhooks_per_s: float = 20
    reads_per_s: float = 4


class Scenario(_Part):
    """One drill. Times are in seconds, as they usually take.

    `parameters` are the fault's, for its SQL; `after_s` is the span within which the fault comes, at a moment that the
    seed decides. `declared` is what somebody reports where no monitor can see it. `undo` is what puts the fault right
    by hand; `sources` is where a public incident is told that it replays.
    """

    name: str
    title: str
    story: str
    rollback_type: Kind
    severity: Severity
    signal: str
    takes_s: Seconds
    steady_s: Seconds = 8
    after_s: tuple[float, float] = (0, 0)
    detect_within_s: Seconds = 60
    sandbox: Patient = Patient()
    parameters: Mapping[str, float | int | str] = {}
    declared: str = ""
    hypothesis: Hypothesis = Hypothesis()
    faults: Annotated[tuple[Fault, ...], Field(min_length=1)]
    undo: tuple[Fault, ...] = ()
    right_answers: Annotated[tuple[Answer, ...], Field(min_length=1)]
    wrong_answers: Annotated[tuple[Answer, ...], Field(min_length=1)]
    teaches: str
    sources: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _undone_by_something(self) -> Self:
        steps = [step for answer in self.right_answers for step in answer.steps]
        if any(step.by_hand for step in steps) and not self.undo:
            raise ValueError("what is put right by hand needs [[undo]]")
        if self.rollback_type not in {answer.rollback for answer in self.right_answers}:
            raise ValueError("the rollback type is none of the right answers'")
        return self

    @property
    def response(self) -> tuple[Response, ...]:
        """The first right answer's; where the notebooks are to find the rollback themselves, as they recommend."""
        first = self.right_answers[0]
        return AS_RECOMMENDED if not first.response and first.rollback in FOUND_BY_THEMSELVES else first.steps

    def verdict(self, kind: str) -> str:
        """'right' or 'wrong' by the answer key; 'not in the key' for what it does not tell of."""
        if any(answer.rollback == kind for answer in self.right_answers):
            return "right"
        return "wrong" if any(answer.rollback == kind for answer in self.wrong_answers) else "not in the key"

    def answered_by(self, kind: str) -> Answer:
        """The answer of that kind, from the key or, where it tells of none, as it is usually done. UsageError for a
        kind that there is not."""
        for answer in (*self.right_answers, *self.wrong_answers):
            if answer.rollback == kind:
                return answer
        if kind not in RESPONSES:
            raise UsageError(f"{kind!r} is no answer", state="nothing was done", next=f"use {', '.join(RESPONSES)}")
        return Answer.model_validate(
            {"rollback": kind, "what": f"Answer with {kind}.", "comes_of_it": "Not in the key."}
        )

    def moment_s(self, seed: int) -> float:
        """How long after the steady state the fault comes, in seconds, by the seed."""
        return random.Random(seed).uniform(*self.after_s)  # noqa: S311 - a moment, no secret


def migrations_of(scenario: Scenario) -> Path | None:
    """The folder of the scenario's own migrations; None where it uses the service's."""
    folder = FOLDER / scenario.name
    return folder if folder.is_dir() else None


def scenario_names() -> list[str]:
    """All there are, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_scenario(name: str) -> Scenario:
    """Read a scenario. UsageError for an unknown name (with those that are known) or a malformed file."""
    path = FOLDER / f"{name}.toml"
    if name not in scenario_names():
        raise UsageError(f"There is no scenario {name!r}", next=f"use one of: {', '.join(scenario_names())}")
    try:
        return Scenario.model_validate({"name": name} | tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Scenario {path} is malformed: {error}", next="mend that file") from None

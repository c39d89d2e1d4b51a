"""What a rehearsal predicted of a plan, beside what came of it: seconds, locks, salvage, step by step.

It reads the journal and repeats it. What no entry tells is None or empty, and never made up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.analysis import fields
from toolkit.analysis.entries import cite, every, latest
from toolkit.analysis.execution import Plan
from toolkit.analysis.references import Reference, References
from toolkit.journal import Entry

TOLD = ("step.done", "step.locks", "step.salvaged")


@dataclass(frozen=True)
class Kept:
    """What was salvaged, in words, and how many rows."""

    what: str
    rows: int | None


@dataclass(frozen=True)
class Measured:
    """Of one step. `locks` are modes and relations, held for `held_s` seconds at the longest."""

    seconds: float | None
    locks: tuple[str, ...] = ()
    held_s: float | None = None
    salvaged: tuple[Kept, ...] = ()


@dataclass(frozen=True)
class ComparedStep:
    """One step of the plan. `predicted` is None where the copy could not tell, `real` where it was not carried out."""

    what: str
    predicted: Measured | None
    real: Measured | None
    references: References


@dataclass(frozen=True)
class Prediction:
    """A plan's rehearsal. `outcome` None: it was not rehearsed, and `why` is the reason that was given; otherwise `why`
    is what failed there. `seconds` are those of the rehearsal as a whole, `restored_s` of the copy's building."""

    outcome: str | None
    why: str | None
    seconds: float | None
    restored_s: float | None
    steps: tuple[ComparedStep, ...]
    reference: Reference


def read_prediction(journal: Sequence[Entry], plan: Plan | None) -> Prediction | None:
    """Of the plan that was carried out; None where the journal tells of no rehearsal of it."""
    if plan is None or plan.id is None:
        return None
    mine = [entry for entry in journal if fields.text(entry.data, "plan") == plan.id]
    made, skipped = latest(mine, "rehearsal.made"), latest(mine, "rehearsal.skipped")
    if made is None:
        why = fields.text(skipped.data, "why") if skipped else None
        return Prediction(None, why, None, None, (), cite(skipped)) if skipped else None
    predicted = {fields.text(each, "step"): each for each in fields.objects(made.data, "steps")}
    return Prediction(
        outcome=fields.text(made.data, "outcome"),
        why=fields.text(made.data, "why"),
        seconds=fields.number(made.data, "seconds"),
        restored_s=fields.number(made.data, "restored_s"),
        steps=tuple(_compared(step.id, step.what, predicted.get(step.id), mine) for step in plan.steps),
        reference=cite(made),
    )


def _compared(name: str, what: str, predicted: fields.Data | None, mine: Sequence[Entry]) -> ComparedStep:
    told = [entry for entry in every(mine, *TOLD) if fields.text(entry.data, "step") == name]
    tried = predicted is not None and predicted.get("tried") is not False
    return ComparedStep(
        what=what,
        predicted=_predicted(predicted) if predicted is not None and tried else None,
        real=_real(told) if latest(told, "step.done") else None,
        references=tuple(cite(entry) for entry in told),
    )


def _predicted(said: fields.Data) -> Measured:
    kept = tuple(_kept(each) for each in fields.objects(said, "salvaged"))
    return Measured(fields.number(said, "seconds"), fields.texts(said, "locks"), fields.number(said, "held_s"), kept)


def _real(told: Sequence[Entry]) -> Measured:
    """A step in parts tells its locks once for each part: all of them, and the longest time."""
    done, taken = every(told, "step.done")[-1], every(told, "step.locks")
    held = [seconds for entry in taken if (seconds := fields.number(entry.data, "held_s")) is not None]
    locks = [
        f"{fields.text(lock, 'mode')} on {fields.text(lock, 'relation')}"
        for entry in taken
        for lock in fields.objects(entry.data, "locks")
    ]
    kept = [_kept(each) for entry in every(told, "step.salvaged") for each in fields.objects(entry.data, "salvaged")]
    return Measured(
        fields.number(done.data, "seconds"), tuple(dict.fromkeys(locks)), max(held, default=None), tuple(kept)
    )


def _kept(said: fields.Data) -> Kept:
    return Kept(fields.text(said, "what") or "something", fields.whole(said, "rows"))

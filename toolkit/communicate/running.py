"""How far the plan is that is being carried out, and when it may be through: an estimate from what the journal says.

The running step's own estimate (`step.progress`), and after it what the rehearsal measured of each step to come. Where
one of them is not known the time is not known either: a guess would be a promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from toolkit.analysis import fields
from toolkit.analysis.entries import every, latest
from toolkit.journal import Entry

STALE_AFTER = timedelta(minutes=2)  # an estimate that nobody renewed is none
ENDED = ("step.done", "step.skipped")
OVER = ("plan.done", "plan.aborted", "plan.interrupted", "step.failed")


@dataclass(frozen=True)
class Running:
    """A plan under way: `step` is what is being done, `number` of `steps`. `left_s` are the seconds left of what the
    step is at, `later_s` those of the steps after it; None: unknown."""

    step: str
    number: int
    steps: int
    left_s: float | None
    later_s: float | None

    def told(self, now: datetime) -> str:
        """In words; with the moment at which all may be through, UTC, where every part of it is known."""
        where = f"step {self.number} of {self.steps}: {self.step.rstrip('.')}"
        if self.left_s is None:
            return f"{where}; the time left is not known"
        if self.later_s is None:
            return f"{where}; about {_rounded(self.left_s)} left of it, and what comes after it is not known"
        through = now + timedelta(seconds=self.left_s + self.later_s)
        return f"{where}; about {_rounded(self.left_s + self.later_s)} left (ETA {through:%H:%M} UTC)"


def running_in(entries: Sequence[Entry], now: datetime) -> Running | None:
    """The plan that is being carried out; None where none is."""
    made = next((e for e in reversed(entries) if e.kind == "plan.made" and e.data.get("execute")), None)
    if made is None:
        return None
    plan = fields.text(made.data, "plan")
    since = [e for e in entries if e.seq > made.seq and fields.text(e.data, "plan") in (None, plan)]
    begun = latest(since, "step.begun")
    if begun is None or any(e.kind in OVER and e.seq > begun.seq for e in since):
        return None
    ids = [fields.text(each, "id") for each in fields.objects(made.data, "steps")]
    step = fields.text(begun.data, "step")
    number = ids.index(step) + 1 if step in ids else 1
    finished = any(e.seq > begun.seq and fields.text(e.data, "step") == step for e in every(since, *ENDED))
    predicted = _predicted(entries, plan)
    here = 0.0 if finished else _left_here(since, begun, predicted.get(step or ""), now)
    after = [predicted.get(each or "") for each in ids[number:]]
    known = [each for each in after if each is not None]
    later = sum(known) if len(known) == len(after) else None
    what = fields.text(begun.data, "what") or step or "?"
    return Running(what, number, max(len(ids), 1), here, later)


def _left_here(since: Sequence[Entry], begun: Entry, predicted: float | None, now: datetime) -> float | None:
    """Of the step that runs: by its own newest estimate, else by what the rehearsal took for it."""
    told = [e for e in every(since, "step.progress") if e.seq > begun.seq]
    if told:
        left, age = fields.number(told[-1].data, "left_s"), now - told[-1].at
        return None if left is None or age > STALE_AFTER else max(0.0, left - age.total_seconds())
    return None if predicted is None else max(0.0, predicted - (now - begun.at).total_seconds())


def _predicted(entries: Sequence[Entry], plan: str | None) -> dict[str, float]:
    """Seconds by step, as the rehearsal of this plan measured them."""
    made = [e for e in every(entries, "rehearsal.made") if fields.text(e.data, "plan") == plan]
    steps = fields.objects(made[-1].data, "steps") if made else ()
    return {
        name: seconds
        for each in steps
        if (name := fields.text(each, "step"))
        and (seconds := fields.number(each, "seconds")) is not None
        and each.get("tried") is not False
    }


def _rounded(seconds: float) -> str:
    """No more exact than it is: `less than a minute`, `4 min`, `1 h 20 min`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

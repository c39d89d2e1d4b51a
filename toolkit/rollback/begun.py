"""The plan that an incident has begun, read off its journal, and whether it can still be carried on. Pure.

Killed half-way, a run goes on with the plan that was shown. Where the world has moved since (another version, another
deployment, a changed file) the old plan is left alone and a new one is made from what is there now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.journal import Entry
from toolkit.rollback.plan import Action, Kind, Mend, Plan, PointProduction, RunDown, Wish
from toolkit.rollback.situation import Situation

MADE, DONE, ABORTED = "plan.made", "plan.done", "plan.aborted"
STEP_BEGUN, STEP_DONE, STEP_FAILED = "step.begun", "step.done", "step.failed"
INTERRUPTED = "plan.interrupted"
ONCE_MORE: tuple[Kind, ...] = ("restore", "emergency")  # finished, they can be wanted again, for new damage


@dataclass(frozen=True)
class Progress:
    """How far the latest plan came that was carried out in an incident. `data` is what the journal holds of it."""

    data: Mapping[str, Any]
    since: tuple[Entry, ...]

    @property
    def plan(self) -> str:
        return str(self.data["plan"])

    @property
    def finished(self) -> bool:
        return any(entry.kind == DONE for entry in self.since)

    @property
    def aborted(self) -> bool:
        return any(entry.kind == ABORTED for entry in self.since)

    def times(self, kind: str, step: str | None = None) -> int:
        """How often an entry of that kind was made since, of one step or of any."""
        return sum(entry.kind == kind and step in (None, entry.data.get("step")) for entry in self.since)


def latest_progress(entries: Sequence[Entry]) -> Progress | None:
    """Of the latest plan that was to be carried out; None when none was. Dry runs do not count."""
    for place in reversed(range(len(entries))):
        if entries[place].kind == MADE and entries[place].data.get("execute"):
            return Progress(entries[place].data, tuple(entries[place + 1 :]))
    return None


def times_ended(entries: Sequence[Entry]) -> int:
    """How many restores and emergency plans of an incident were finished or given up."""
    kinds: dict[str, str] = {}
    ended: set[str] = set()
    for entry in entries:
        if entry.kind == MADE and entry.data.get("execute"):
            kinds[str(entry.data["plan"])] = str(entry.data.get("kind"))
        elif entry.kind in (DONE, ABORTED) and kinds.get(str(entry.data.get("plan"))) in ONCE_MORE:
            ended.add(str(entry.data["plan"]))
    return len(ended)


def plan_to_continue(entries: Sequence[Entry], situation: Situation, wish: Wish) -> Plan | None:
    """The latest plan that was begun, if it is what is wanted and still fits what is there; otherwise None.

    A finished plan of Type 1 or 2 is returned too while its end still holds, so that a repeated run finds all of it
    done. A finished restore is none: nothing tells whether the damage came again. Raises JournalError when that plan
    was changed in the journal.
    """
    progress = latest_progress(entries)
    if progress is None or progress.aborted or not progress.times(STEP_BEGUN):
        return None
    plan = Plan.from_json(progress.data)
    if progress.finished and plan.kind in ONCE_MORE:
        return None
    if not _is_wanted(plan, wish, situation):
        return None
    return plan if _fits(plan, situation, progress.finished) else None


def _is_wanted(plan: Plan, wish: Wish, situation: Situation) -> bool:
    """The same was asked for, or what is asked for by name is where the plan leads."""
    asked, wish = plan.wish, wish.bare
    if asked == wish:
        return True
    chosen = situation.releases.named(wish.deployment) if wish.deployment else None
    named = chosen.id if chosen else wish.deployment
    if wish.kind in ONCE_MORE:
        restored = plan.restores and str(Path(plan.restores.source).resolve())
        return (
            asked is not None
            and replace(asked, source=wish.source, deployment=wish.deployment) == wish
            and wish.source in (asked.source, restored)
            and (wish.deployment == asked.deployment or named == plan.deployment)
        )
    if plan.kind != wish.kind:
        return False
    if wish.kind == "application":
        return named is not None and named == plan.deployment
    ends_at = plan.ends_at.to_version if plan.ends_at else None
    return wish.to is not None and wish.to == ends_at and named in (None, plan.deployment)


def _fits(plan: Plan, situation: Situation, finished: bool) -> bool:
    return all(_action_fits(step.action, plan, situation, finished) for step in plan.steps)


def _action_fits(action: Action, plan: Plan, situation: Situation, finished: bool) -> bool:
    if isinstance(action, PointProduction):
        allowed = {action.deployment} if finished else {action.deployment, action.instead_of}
        live = situation.releases.live  # a platform that does not answer is the step's business, not a new plan's
        return live is None or live.id in allowed
    if isinstance(action, Mend):
        return situation.state is not None and situation.state.version in (action.version, action.to_version)
    if not isinstance(action, RunDown):
        return True
    state, folder = situation.state, situation.folder
    if state is None or folder is None or state.dirty:
        return False
    assert plan.ends_at is not None
    on_the_way = {plan.downs[0].version, *(down.to_version for down in plan.downs)}
    there = state.version == plan.ends_at.to_version if finished else state.version in on_the_way
    migration = folder.migrations.get(action.version)
    return there and migration is not None and migration.down is not None and migration.down.sha256 == action.sha256

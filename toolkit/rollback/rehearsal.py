"""A plan tried on a copy first: the backup that was just taken, restored on a scratch server, and every step run there.

It tells how long it takes, which locks it takes, what is lost and what is salvaged, and whether the schema is right at
the end. It never touches the target. What the scratch server could not build is unknown, and said so.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from toolkit.adapters.systems import Systems
from toolkit.checks import CheckResult, Outcome, overall, run_checks, tally
from toolkit.errors import RollbackError, ToolkitError
from toolkit.incident import Incident
from toolkit.progress import Advance, no_advance
from toolkit.rollback.backup import MADE as BACKED_UP
from toolkit.rollback.backup import Backup, require_backup
from toolkit.rollback.backup.proof import keep_proof, restore_checks
from toolkit.rollback.begun import latest_progress
from toolkit.rollback.blocking import Patience
from toolkit.rollback.plan import BackUp, Plan, PointProduction, Step
from toolkit.rollback.rehearsal_checks import Played, end_checks, for_a_copy, ground_checks
from toolkit.rollback.rehearsed import REHEARSED
from toolkit.rollback.scratch import restoring_s, scratch_server
from toolkit.rollback.steps import Surroundings, doing_of

BUDGET_S = 300.0
LOCKS, SALVAGED, MERGED = "step.locks", "step.salvaged", ("restore.prepared", "restore.swapped")
LISTED = 4  # locks that are named; more are counted


@dataclass(frozen=True)
class KeptAside:
    """What a step salvaged: in words, and how many rows."""

    what: str
    rows: int


@dataclass(frozen=True)
class RehearsedStep:
    """One step on the copy. `locks` are what it held on tables, for `held_s` seconds at the longest; None: for how long
    is not known. `salvaged` is what it would lose and copied aside. `tried`: a copy has no platform to
    point, and needs no backup.
    """

    step: str
    what: str
    seconds: float
    outcome: str
    locks: tuple[str, ...] = ()
    held_s: float | None = None
    salvaged: tuple[KeptAside, ...] = ()
    tried: bool = True

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {
            "step": self.step,
            "tried": self.tried,
            "seconds": self.seconds,
            "locks": list(self.locks),
            "held_s": self.held_s,
            "salvaged": [asdict(each) for each in self.salvaged],
        }


@dataclass(frozen=True)
class Rehearsal:
    """What came of it. `why` says what failed, '' when nothing did. `problems` could not be built on the copy."""

    plan: Plan
    steps: tuple[RehearsedStep, ...]
    results: Sequence[CheckResult]
    restored_s: float
    seconds: float
    why: str = ""
    problems: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """A failed step fails it, where the copy was built whole; otherwise as the checks say."""
        if self.why:
            return Outcome.UNKNOWN if self.problems else Outcome.FAIL
        return overall(self.results)

    @property
    def verdict(self) -> str:
        """One sentence for a person."""
        took = sum(step.seconds for step in self.steps)
        if self.outcome is Outcome.FAIL:
            wrong = self.why or "; ".join(f"{r.name}: {r.evidence}" for r in self.results if r.outcome is Outcome.FAIL)
            return f"It fails on the copy: {wrong}. Nothing was done on the target; choose another way back."
        if self.why:
            return (
                f"It fails on the copy: {self.why}. But the copy could not be built whole ({self.problems[0]}): "
                "whether it would fail on the target is not known. Nothing was done there."
            )
        some = "" if self.outcome is Outcome.PASS else " Some of it is unknown: see the table."
        return f"It works on the copy, in {took:.1f} s.{some}"

    def rows(self) -> list[dict[str, str]]:
        """A row for each step, as on the copy."""
        return [
            {
                "step": each.step,
                "on the copy": each.outcome,
                "s": f"{each.seconds:.2f}",
                "locks": _brief(each.locks),
                "held s": "" if each.held_s is None else f"{each.held_s:.2f}",
                "salvaged": "; ".join(kept.what for kept in each.salvaged),
            }
            for each in self.steps
        ]

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {
            "plan": self.plan.id,
            "outcome": self.outcome,
            "why": self.why,
            "tally": tally(self.results),
            "checks": [{"name": r.name, "outcome": r.outcome, "evidence": r.evidence} for r in self.results],
            "steps": [each.to_json() for each in self.steps],
            "problems": list(self.problems),
            "restored_s": self.restored_s,
            "seconds": self.seconds,
        }


def _brief(locks: Sequence[str]) -> str:
    more = f" and {len(locks) - LISTED} more" if len(locks) > LISTED else ""
    return ", ".join(locks[:LISTED]) + more if locks else "none on tables"


@dataclass(frozen=True)
class Unrehearsed:
    """A plan that was not tried, and why. Shaped as a rehearsal for whoever shows it."""

    verdict: str
    results: tuple[CheckResult, ...] = ()

    def rows(self) -> list[dict[str, str]]:
        """No step was tried."""
        return []


def rehearses_on_the_way(plan: Plan) -> bool:
    """A full emergency stops writes before all else; its backup and its rehearsal come while nothing is written."""
    return plan.kind == "emergency" and plan.backs_up


def rehearse_if_needed(
    plan: Plan,
    systems: Systems,
    incident: Incident,
    *,
    actor: str,
    no_rehearsal: str = "",
    advance: Advance = no_advance,
) -> Rehearsal | Unrehearsed:
    """Rehearse a plan that changes the database, unless somebody says why not or it was begun. Raises as `rehearse`.

    Without a backup of this incident there is nothing to rehearse on, and that is said.
    """
    if plan.recovers is not None:
        return Unrehearsed("What the platform does cannot be tried on a copy.")
    if not plan.changes_database:
        return Unrehearsed("It leaves the database alone: there is nothing to rehearse.")
    if rehearses_on_the_way(plan):
        return Unrehearsed("It stops writes first, and is tried on the backup that it makes then.")
    if no_rehearsal:
        return Unrehearsed(f"It is not rehearsed: {no_rehearsal}.")
    progress = latest_progress(incident.journal.entries())
    if progress is not None and progress.plan == plan.id:
        return Unrehearsed("It was begun already: it is gone on with.")
    if incident.latest(BACKED_UP) is None:
        return Unrehearsed("There is no backup of this incident to rehearse on: 02_stabilize with execute makes one.")
    return rehearse(plan, systems, incident, actor=actor, advance=advance)


def rehearse(
    plan: Plan,
    systems: Systems,
    incident: Incident,
    *,
    actor: str,
    budget_s: float = BUDGET_S,
    advance: Advance = no_advance,
) -> Rehearsal:
    """Try the plan on a copy and journal what came of it.

    Raises BackupError without a backup of this incident, RollbackError when the copy would take longer than `budget_s`
    seconds (the choice is the operator's) and DatabaseError when no scratch server can be had.
    """
    assert plan.server is not None, "a plan that leaves the database alone needs no rehearsal"
    backup, began = require_backup(incident, plan.server), time.monotonic()
    _require_within(backup, budget_s, plan.target)
    with scratch_server(like=plan.server) as scratch:
        built = scratch.restored(backup.folder, name=plan.server.database, advance=advance)
        proof = restore_checks(backup, scratch, built=built, advance=advance)
        keep_proof(backup, proof)
        stage = _Stage(plan, replace(systems, database=built.database), incident, advance)
        steps, why = stage.play()
        results = [*proof, *run_checks(ground_checks(built, scratch))]
        if not why:
            results += end_checks(Played(plan, systems, stage.systems, incident.id, scratch, built, stage.merges))
    seconds = round(time.monotonic() - began, 3)
    made = Rehearsal(plan, steps, results, round(built.seconds, 3), seconds, why, built.problems)
    incident.record(REHEARSED, made.to_json(), actor=actor)
    return made


def estimated_s(backup: Backup) -> float:
    """How long the copy may take, in seconds, from the size of the dump."""
    return restoring_s(backup.manifest.bytes)


def _require_within(backup: Backup, budget_s: float, target: str) -> None:
    if (estimate := estimated_s(backup)) > budget_s:
        raise RollbackError(
            f"A rehearsal would take about {estimate:.0f} s, and {budget_s:.0f} s are allowed",
            target=target,
            state="nothing was done",
            next="allow it more time (--rehearsal-budget SECONDS), or go without and say why (--no-rehearsal REASON)",
        )


@dataclass
class _Heard:
    """What a step told on the way."""

    locks: list[str] = field(default_factory=list)
    held_s: float | None = None
    salvaged: list[KeptAside] = field(default_factory=list)
    merges: list[Mapping[str, Any]] = field(default_factory=list)

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == LOCKS:
            self.locks += [f"{lock['mode']} on {lock['relation']}" for lock in data.get("locks", ())]
            self.held_s = max(self.held_s or 0.0, float(data["held_s"]))
        if kind == SALVAGED:
            self.salvaged += [KeptAside(each["what"], int(each["rows"])) for each in data.get("salvaged", ())]
        if kind in MERGED and isinstance(merged := data["told"].get("merged"), Mapping):
            self.merges.append(merged)


@dataclass
class _Stage:
    """The copy on which the plan is played."""

    plan: Plan
    systems: Systems
    incident: Incident
    advance: Advance
    heard: _Heard = field(default_factory=_Heard)
    merges: list[Mapping[str, Any]] = field(default_factory=list)

    def play(self) -> tuple[tuple[RehearsedStep, ...], str]:
        """Every step in order, until one fails; and why it did."""
        steps = tuple(map(for_a_copy, self.plan.steps))
        plan = replace(self.plan, server=self.systems.database.identity(), steps=steps)
        around = Surroundings(
            plan, self.systems, self.incident, Patience(), self._hear, advance=self.advance, rehearsal=True
        )
        done: list[RehearsedStep] = []
        for step in plan.steps:
            self.heard = _Heard()
            began = time.monotonic()
            try:
                outcome, why = self._play(step, around), ""
            except ToolkitError as error:
                outcome, why = "failed", f"step {step.id}: {error.what}"
            seconds = round(time.monotonic() - began, 3)
            heard = self.heard
            self.merges += heard.merges
            locks, salvaged = tuple(dict.fromkeys(heard.locks)), tuple(heard.salvaged)
            tried = not isinstance(step.action, PointProduction | BackUp)
            done.append(RehearsedStep(step.id, step.what, seconds, outcome, locks, heard.held_s, salvaged, tried))
            if why:
                return tuple(done), why
        return tuple(done), ""

    def _play(self, step: Step, around: Surroundings) -> str:
        doing = doing_of(step, around)
        doing.require()
        if (before := doing.look()).done:
            return f"done before: {before.evidence}"
        outcome = doing.act()
        after = doing.look()
        if not after.done:
            raise RollbackError(f"it ran, but {after.evidence}")
        return outcome

    def _hear(self, kind: str, data: Mapping[str, Any]) -> None:
        self.heard.hear(kind, data)

"""The one runner: it carries a plan out, step by step, and is the only thing here that has effects.

    lease ─► journal the plan ─► for each step: done already? skip │ journal it ─► do it ─► see it done ─► journal that

It knows no planner and no action: a step knows how it is done (`steps`). Killed anywhere, the same plan is run again
and nothing is done twice, because each step asks the target. Without `execute` it looks, and changes nothing.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, overload

from toolkit.adapters.systems import Systems
from toolkit.clock import utc_now
from toolkit.errors import DatabaseError, RollbackError, ToolkitError, UnverifiedError, UsageError, WrongServerError
from toolkit.incident import Incident
from toolkit.progress import Advance, Progressing, no_advance
from toolkit.rollback.backup import require_backup
from toolkit.rollback.begun import (
    DONE,
    INTERRUPTED,
    MADE,
    STEP_BEGUN,
    STEP_DONE,
    STEP_FAILED,
    Progress,
    latest_progress,
)
from toolkit.rollback.blocking import Patience
from toolkit.rollback.commands import notebook_command, resume_command
from toolkit.rollback.freeze import state_of_writes
from toolkit.rollback.gate import DESTRUCTIVE, require_items
from toolkit.rollback.kept_plan import end_plan, keep_plan, require_nothing_unfinished, supersede
from toolkit.rollback.lease import Lease
from toolkit.rollback.plan import BackUp, Plan, Step
from toolkit.rollback.rehearsed import rehearsal_of, require_rehearsal
from toolkit.rollback.steps import Doing, Surroundings, doing_of
from toolkit.rollback.steps.doing import NO_FENCE, Fence

INSIST_S, INSIST_EVERY_S = 15.0, 0.25
LOST = ("08", "57P0")  # SQLSTATEs of a connection or a server that is gone

Done = TypeVar("Done")


@dataclass(frozen=True)
class StepResult:
    """What became of a step: 'done', 'done before', or, in a dry run, 'would be done'. `seconds` None: not done now."""

    step: str
    what: str
    outcome: str
    evidence: str
    seconds: float | None = None


@dataclass(frozen=True)
class RunResult:
    """What a run did. `command` is what would carry out a plan that was only shown; None after a real run."""

    plan: Plan
    executed: bool
    steps: tuple[StepResult, ...]
    finished_at: datetime
    seconds: float
    command: str | None = None

    def rows(self) -> list[dict[str, str]]:
        """A row for each step; in a dry run a last one that says how to go on."""
        rows = [
            {
                "step": each.step,
                "what": each.what,
                "outcome": each.outcome,
                "evidence": each.evidence,
                "s": "" if each.seconds is None else f"{each.seconds:.2f}",
            }
            for each in self.steps
        ]
        if self.command is not None:
            said = {"step": "", "what": "Nothing was changed: this was a dry run", "outcome": "dry run"}
            rows.append(said | {"evidence": f"To carry it out: {self.command}", "s": ""})
        return rows


@dataclass(frozen=True)
class Manner:
    """How a plan is carried out. `take_over`: why the lease is taken from somebody who holds it; '' leaves it to them.
    `end_blockers`: sessions in the way of a lock are ended when patience is used up. `advance` shows progress.
    `override`: why blocking items of the checklist that are open may stay so; '' waits for them. `rehearse`: tries the
    plan on a copy once the backup is there that the plan makes itself, writes frozen; without it the rehearsal must
    have been made before."""

    patience: Patience = Patience()  # noqa: RUF009 - a frozen value
    take_over: str = ""
    end_blockers: bool = False
    override: str = ""
    advance: Advance = no_advance
    rehearse: Callable[[], None] | None = None


AS_USUAL = Manner()


def carry_out(
    plan: Plan,
    systems: Systems,
    incident: Incident,
    *,
    actor: str,
    execute: bool = False,
    confirm: str | None = None,
    no_rehearsal: str = "",
    resumed: bool = False,
    manner: Manner = AS_USUAL,
) -> RunResult:
    """Carry a plan out, or, without `execute`, look how it stands and tell the command that would.

    Safe to repeat: what is done is not done twice. `confirm` must be the service's name on production, and
    `no_rehearsal` the reason where a plan that changes the database was not tried on a copy. `resumed`: it was begun on
    this target before, perhaps from another machine, where its backup and its rehearsal are. Raises UsageError for
    another target or a missing confirmation, WrongServerError for another server, BackupError when a plan that changes
    the database has no backup of this incident, and RollbackError, PlatformError or DatabaseError for a lease that
    somebody else holds, for a step that cannot be begun or that failed; the error names the state that it left.
    """
    run = _Run(plan, systems, incident, actor, manner)
    require_meant(plan, systems, confirm, execute)
    run.require()
    return run.execute(no_rehearsal, resumed=resumed) if execute else run.look()


class _Run:
    """One attempt at a plan."""

    def __init__(self, plan: Plan, systems: Systems, incident: Incident, actor: str, manner: Manner) -> None:
        self.plan, self.systems, self.incident, self.actor, self.manner = plan, systems, incident, actor, manner
        self.began = time.monotonic()
        self.at: Step | None = None
        self.gated = False  # a plan that is gone on with was let through before
        self.lease: Lease | None = None
        self.doings: Mapping[str, Doing] = self._doings(NO_FENCE)

    def _doings(self, fence: Fence) -> Mapping[str, Doing]:
        advance = Progressing(self.manner.advance, self._tell_on_the_way)
        around = Surroundings(
            self.plan,
            self.systems,
            self.incident,
            self.manner.patience,
            self._tell_on_the_way,
            fence=fence,
            advance=advance,
            end_blockers=self.manner.end_blockers,
        )
        return {step.id: doing_of(step, around) for step in self.plan.steps}

    def require(self) -> None:
        """Whether every step can be begun: the right server, files as they were shown. Nothing is touched before."""
        for doing in self.doings.values():
            doing.require()

    def look(self) -> RunResult:
        """The dry run."""
        looked = [(step, self.doings[step.id].look()) for step in self.plan.steps]
        results = tuple(
            StepResult(step.id, step.what, "done already" if standing.done else "would be done", standing.evidence)
            for step, standing in looked
        )
        self._journal_plan(execute=False)
        return self._result(results, command=notebook_command(self.plan, self.systems, self.incident))

    def execute(self, no_rehearsal: str, *, resumed: bool) -> RunResult:
        """The real one."""
        progress = self._progress()
        if progress is not None and progress.finished and self._all_done():
            done = tuple(StepResult(s.id, s.what, "done before", "the plan was finished") for s in self.plan.steps)
            return self._result(done)
        begun = progress is not None and not progress.finished and not progress.aborted
        require_nothing_unfinished(self.systems.database, self.plan, self.incident.id)
        if self.plan.changes_database and self.plan.server is not None and not begun and not resumed:
            if not self.plan.backs_up:
                require_backup(self.incident, self.plan.server)
            if not self._rehearses_on_the_way:
                require_rehearsal(self.incident, self.plan, no_rehearsal, actor=self.actor)
        if self.plan.changes_database and not begun and not resumed:
            self._require_items(on_the_way=True)
            self.gated = True
        with self._holding_the_lease() as fence:
            self.doings = self._doings(fence)
            if not begun:
                self._journal_plan(execute=True)
            try:
                results = tuple(self._carry_out_all(no_rehearsal))
            except KeyboardInterrupt:
                self._journal_interruption()
                raise
            seconds = round(time.monotonic() - self.began, 3)
            self._journal(DONE, {"seconds": seconds, "steps": [result.step for result in results]})
            self._keep_head()
            _insist(lambda: end_plan(self.systems.database, self.plan, "done"), within_s=INSIST_S if self.lease else 0)
        return self._result(results)

    @contextlib.contextmanager
    def _holding_the_lease(self) -> Iterator[Fence]:
        """One operator at a time. An application can be rolled back while the database is down: then there is none."""
        try:
            lease = self.lease = self._take_lease()
        except DatabaseError as error:
            if self.plan.changes_database:
                raise
            self._journal("lease.none", {"why": error.what})
            yield NO_FENCE
            return
        taken = lease.took_over.to_json() if lease.took_over else None
        self._journal("lease.held", {"token": lease.token, "taken_from": taken, "reason": lease.reason})
        with lease.keep():
            try:
                yield lease
            finally:
                _insist(lease.release)

    def _take_lease(self) -> Lease:
        """The lease, and the plan kept under it: whoever is refused has changed nothing."""
        database, incident = self.systems.database, self.incident
        database.prepare()
        lease = Lease.acquire(
            database,
            incident=incident.id,
            plan=self.plan.id,
            holder=self.actor,
            take_over=bool(self.manner.take_over),
            reason=self.manner.take_over,
        )
        try:
            supersede(database, self.plan, incident.id, lease.guard)
            keep_plan(database, self.plan, incident.id, folder=incident.folder, guard=lease.guard)
        except ToolkitError:
            _insist(lease.release)
            raise
        return lease

    @property
    def _rehearses_on_the_way(self) -> bool:
        return self.manner.rehearse is not None and self.plan.backs_up and self.plan.changes_database

    def _carry_out_all(self, no_rehearsal: str) -> Iterator[StepResult]:
        for step in self.plan.steps:
            yield self._carry_out(step)
            if isinstance(step.action, BackUp) and self._rehearses_on_the_way:
                self._rehearse(step, no_rehearsal)

    def _rehearse(self, after: Step, no_rehearsal: str) -> None:
        """On the backup that was just made. Not where a later step was begun: then it is gone on with."""
        later = self.plan.steps[self.plan.steps.index(after) + 1 :]
        if any(self._times(STEP_BEGUN, step) for step in later):
            return
        try:
            if not no_rehearsal and rehearsal_of(self.incident, self.plan) is None:
                assert self.manner.rehearse is not None
                self.manner.rehearse()
            require_rehearsal(self.incident, self.plan, no_rehearsal, actor=self.actor)
        except ToolkitError as error:
            error.state = f"nothing after {after.id} was done; {state_of_writes(self.systems.database)}"
            go_on = resume_command(self.plan, self.systems, self.incident)
            error.next = (
                f"{error.next or 'look at it'}; go on with {go_on}; or give up (--abort), which lifts the freeze"
            )
            raise

    def _carry_out(self, step: Step) -> StepResult:
        self.at, doing = step, self.doings[step.id]
        before = doing.look()
        if before.done:
            return self._skip(step, before.evidence)
        if self.gated and isinstance(step.action, DESTRUCTIVE):
            self._require_items_on_the_way(step)
        self._require_ours()
        attempt = self._times(STEP_BEGUN, step) + 1
        self._journal(STEP_BEGUN, {"step": step.id, "what": step.what, "attempt": attempt})
        began = time.monotonic()
        outcome = self._act(step, doing)
        seconds = round(time.monotonic() - began, 3)
        self._journal(STEP_DONE, {"step": step.id, "what": step.what, "seconds": seconds, "outcome": outcome})
        self._keep_head()
        return StepResult(step.id, step.what, "done", outcome, seconds)

    def _require_items(self, *, on_the_way: bool = False) -> None:
        """`on_the_way`: what the plan answers itself need not be answered yet. The platform's own recovery has neither
        a backup nor a rehearsal of ours."""
        itself = [
            ("backup", self.plan.backs_up and on_the_way),
            ("rehearsal", self._rehearses_on_the_way and on_the_way),
        ]
        but = [fact for fact, later in itself if later or self.plan.server is None]
        playbook, reason = self.systems.playbook, self.manner.override
        require_items(self.incident, playbook, self.plan, reason, actor=self.actor, but=but)

    def _require_items_on_the_way(self, step: Step) -> None:
        try:
            self._require_items()
        except ToolkitError as error:
            error.state = f"{step.id} was not begun; {state_of_writes(self.systems.database)}"
            raise

    def _require_ours(self) -> None:
        """Not every step has a transaction that asks the lease: the platform knows nothing of it."""
        if self.lease is None:
            return
        try:
            _insist(self.lease.require, leave=False)
        except DatabaseError:
            if self.plan.changes_database:
                raise

    def _act(self, step: Step, doing: Doing) -> str:
        """Do it and see that it is done. An error after an effect that holds all the same is told, not raised; what a
        lost connection kept from being done is tried once more."""
        for last in (False, True):
            try:
                outcome = doing.act()
                failure: ToolkitError | None = None
            except ToolkitError as error:
                outcome, failure = f"done, although: {error.what}", error
            try:
                standing = _insist(doing.look, leave=False) if _lost(failure) else doing.look()
            except ToolkitError as error:
                raise self._failed(step, doing, failure or error) from (failure or error)
            if standing.done:
                return outcome
            failure = failure or RollbackError(f"It ran, but {standing.evidence}")
            if last or not _lost(failure):
                raise self._failed(step, doing, failure)
            self._tell_on_the_way("step.again", {"error": failure.what})
            self._require_ours()
        raise AssertionError("the last try returns or raises")

    def _failed(self, step: Step, doing: Doing, error: ToolkitError) -> ToolkitError:
        """Journal the failure; the error to raise, with the state and the next command."""
        state = error.state or doing.state()
        self._journal(STEP_FAILED, {"step": step.id, "what": step.what, "error": error.what, "state": state})
        self._keep_head()
        following = error.next or f"go on with it: {resume_command(self.plan, self.systems, self.incident)}"
        kind = UnverifiedError if isinstance(error, UnverifiedError) else RollbackError
        return kind(f"Step {step.id} failed: {error.what}", target=self.plan.target, state=state, next=following)

    def _skip(self, step: Step, evidence: str) -> StepResult:
        """It is done. That is journaled where the journal does not say so yet."""
        if not self._times(STEP_DONE, step) and not self._times("step.skipped", step):
            why = f"it had been done: {evidence}"
            self._journal("step.skipped", {"step": step.id, "what": step.what, "why": why})
            self._keep_head()
        return StepResult(step.id, step.what, "done before", evidence)

    def _all_done(self) -> bool:
        return all(doing.look().done for doing in self.doings.values())

    def _progress(self) -> Progress | None:
        progress = latest_progress(self.incident.journal.entries())
        return progress if progress is not None and progress.plan == self.plan.id else None

    def _times(self, kind: str, step: Step) -> int:
        progress = self._progress()
        return progress.times(kind, step.id) if progress else 0

    def _journal_plan(self, *, execute: bool) -> None:
        self.incident.record(MADE, self.plan.to_json() | {"execute": execute}, actor=self.actor)

    def _journal(self, kind: str, data: Mapping[str, Any]) -> None:
        self.incident.record(kind, {"plan": self.plan.id, **data}, actor="runner")

    def _tell_on_the_way(self, kind: str, data: Mapping[str, Any]) -> None:
        self._journal(kind, {"step": self.at.id if self.at else None, **data})

    def _journal_interruption(self) -> None:
        step = self.at
        state = self.doings[step.id].state() if step else "nothing was begun"
        self._journal(INTERRUPTED, {"step": step.id if step else None, "state": state})
        self._keep_head()

    def _keep_head(self) -> None:
        """Keep on the target how far the journal has come. A database that is down does not stop the work."""
        try:
            self.systems.database.keep_head(self.incident.id, self.incident.journal.head())
        except DatabaseError as error:
            self.incident.record("journal.head_not_kept", {"error": error.what}, actor="runner")

    def _result(self, steps: tuple[StepResult, ...], command: str | None = None) -> RunResult:
        seconds = round(time.monotonic() - self.began, 3)
        return RunResult(self.plan, command is None, steps, utc_now(), seconds, command)


def _lost(error: ToolkitError | None) -> bool:
    """Whether it was the connection that failed, and not what was asked over it."""
    if not isinstance(error, DatabaseError) or isinstance(error, WrongServerError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(LOST)


@overload
def _insist(do: Callable[[], Done], *, leave: Literal[False]) -> Done: ...


@overload
def _insist(do: Callable[[], Done], *, within_s: float = ...) -> Done | None: ...


def _insist(do: Callable[[], Done], *, leave: bool = True, within_s: float = INSIST_S) -> Done | None:
    """Try again for a while where the database does not answer, as after a restart; then leave it, or raise: the lease
    of a dead process is taken over, and a plan that was finished is found to be so when it is gone on with."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return do()
        except DatabaseError:
            if time.monotonic() >= deadline:
                if leave:
                    return None
                raise
            time.sleep(INSIST_EVERY_S)


def require_meant(plan: Plan, systems: Systems, confirm: str | None, execute: bool) -> None:
    """UsageError unless the plan is for this service and target and, on production, the service's name confirms it."""
    target, service = systems.target, systems.playbook.service.name
    if (plan.target, plan.service) != (target.name, service):
        raise UsageError(
            f"The plan is for {plan.service} on {plan.target}, not for {service} on {target.name}",
            state="nothing was done",
            next="plan again for this target",
        )
    if execute:
        require_confirmed(systems, confirm, always=plan.recovers is not None)


def require_confirmed(systems: Systems, confirm: str | None, *, always: bool = False) -> None:
    """UsageError on production, or `always`, unless the service's name confirms it."""
    target, service = systems.target, systems.playbook.service.name
    if (target.production or always) and confirm != service:
        said, who = f"{confirm!r} was given" if confirm else "none was given", "This plan" if always else "Production"
        raise UsageError(
            f"{who} wants the service's name as confirmation, and {said}",
            target=target.name,
            state="nothing was done",
            next=f"look at the plan once more, then confirm with {service!r}",
        )

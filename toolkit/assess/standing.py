"""How a target stands, for `--status-only`: what assessment checks, and who is at work on it. It changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from toolkit.adapters.conflicts import UNDECIDED, judge_conflicts
from toolkit.adapters.systems import Systems
from toolkit.assess.asking import WITHIN_S, Asked, Deadline, Seen
from toolkit.assess.status import status_checks
from toolkit.assess.views import look
from toolkit.checks import Check, CheckResult, Finding, judge, passed, run_checks, unknown
from toolkit.errors import ToolkitError
from toolkit.rollback.freeze import came_since, frozen
from toolkit.rollback.kept_plan import unfinished_plans
from toolkit.rollback.lease import holder_of
from toolkit.rollback.merge import COUNTED_AT_MOST, held_jobs
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.state_tables import read_state
from toolkit.rollback.under_way import seen_from_here

AREA = "rollback"


@dataclass(frozen=True)
class Standing:
    """Checks, in the order in which one reads them."""

    target: str
    results: list[CheckResult]

    def rows(self) -> list[dict[str, str]]:
        """A row for each check."""
        return [{"what": each.name, "outcome": each.outcome.value, "evidence": each.evidence} for each in self.results]


def standing(systems: Systems, *, within_s: float = WITHIN_S) -> Standing:
    """Look from all sides at once. Raises nothing: what does not answer in time is a failed or an unknown check."""
    deadline = Deadline(within_s)
    asks: dict[str, Callable[[], Finding]] = {
        "migrations and their folder agree": lambda: _folder(systems),
        "writes are not frozen": lambda: _frozen(systems),
        "the queue hands out its jobs": lambda: _held(systems),
        "nobody else is at work": lambda: _lease(systems),
        "no rollback is unfinished": lambda: _unfinished(systems),
        UNDECIDED: lambda: _conflicts(systems),
    }
    asked = {name: Asked(ask) for name, ask in asks.items()}
    views = look(systems, within_s=within_s)
    answers = {name: each.taken(deadline) for name, each in asked.items()}
    checks = [
        *status_checks(views, systems.playbook, systems.target),
        *(Check(name, AREA, partial(_found, seen)) for name, seen in answers.items()),
    ]
    return Standing(systems.target.name, run_checks(checks))


def _found(seen: Seen[Finding]) -> Finding:
    return seen.value or unknown(seen.trouble or "not seen")


def _folder(systems: Systems) -> Finding:
    """What waits, what has no file, what was changed since, and who holds the tool's lock."""
    state = read_state(systems.database, read_folder(systems.target.migrations), systems.playbook.database.state_table)
    told, waiting = state.differences(), ", ".join(map(str, state.pending)) or "none"
    return judge(not told, f"{state.tool}: {state.said}; waiting: {waiting}{''.join(f'; {each}' for each in told)}")


def _frozen(systems: Systems) -> Finding:
    """A freeze is not all well, but it must hold: what was written in spite of it is told."""
    found = frozen(systems.database)
    if found is None:
        return passed("no freeze is in force")
    if found.stage is not None:
        return judge(False, f"{found}; go on with --resume, or give up with --abort")
    proved = f"proved at {found.proved_at:%H:%M:%S} UTC" if found.proved_at else "not proved yet"
    try:
        came = ", ".join(f"{count} {what}" for what, count in came_since(systems, found).items()) or "no row, no job"
    except ToolkitError as error:
        came = f"unknown ({error.what})"
    return judge(False, f"{found}; {proved}; written since: {came}; go on with --resume, or give up with --abort")


def _held(systems: Systems) -> Finding:
    """A held queue sends nothing, and nothing else tells: its jobs are not late, they are put off."""
    schema = systems.playbook.database.queue_schema
    if schema is None:
        return passed("the playbook names no queue")
    with systems.database.reading() as conn:
        held = held_jobs(conn, schema)
    if held is None:
        return passed(f"nothing holds the jobs of {schema}")
    count = f"{held:,}{' or more' if held == COUNTED_AT_MOST else ''}"
    return judge(
        False,
        f"the jobs of {schema} are held by a restore's swap, {count} of them waiting; nothing is sent: "
        "go on with --resume, or give up with --abort",
    )


def _lease(systems: Systems) -> Finding:
    held = holder_of(systems.database)
    return judge(held is None, "the lease is free" if held is None else str(held))


def _conflicts(systems: Systems) -> Finding:
    with systems.database.reading() as conn:
        return judge_conflicts(conn)


def _unfinished(systems: Systems) -> Finding:
    found = unfinished_plans(systems.database)
    if not found:
        return passed("none")
    named = "; ".join(
        f"{each.plan.summary} (plan {each.plan.id}, incident {each.incident}, begun {each.begun_at:%H:%M:%S} UTC"
        f"{f'; {running}' if (running := seen_from_here(each)) else ''})"
        for each in found
    )
    return judge(False, f"{named}: go on with --resume, or give up with --abort")

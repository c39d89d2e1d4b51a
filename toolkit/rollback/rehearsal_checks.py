"""What is looked at on the copy once a plan has run there: the schema, what a restore brought back and carried over.

It asks the copy what really happened to it. What the scratch server could not build, and what only production's
transaction numbers could tell, is unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.adapters.systems import Systems
from toolkit.checks import Check, CheckResult, Finding, Outcome, failed, passed, run_checks, unknown
from toolkit.errors import ToolkitError
from toolkit.rollback.built_schema import live_against_built
from toolkit.rollback.damage import Damage, told_on_a_copy
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.own_verify import verified_by_script
from toolkit.rollback.pair import PairResult, gather
from toolkit.rollback.pairing import pair_on_copy, running_after
from toolkit.rollback.plan import FreezeWrites, Plan, ReleaseWrites, Step, SwapIn
from toolkit.rollback.restore.names import mark_of
from toolkit.rollback.restore.records import Restored, Swapped, read_restored, read_swap
from toolkit.rollback.restore.swap_schemas import count_rows
from toolkit.rollback.scratch import Built, Scratch
from toolkit.rollback.state_tables import read_state

AREA = "rehearsal"
_TOLD = 5


@dataclass(frozen=True)
class Played:
    """A copy after a plan has run on it. `systems` has the copy as its database, `origin` the target's. `merges` is
    what each merge told of itself, a restore's preparing one and the one inside its swap."""

    plan: Plan
    origin: Systems
    systems: Systems
    incident: str
    scratch: Scratch
    built: Built
    merges: Sequence[Mapping[str, Any]] = ()


def ground_checks(built: Built, scratch: Scratch) -> list[Check]:
    """Whether the copy is like the target."""
    return [
        Check("the copy could be built whole", AREA, lambda: _whole(built)),
        Check("the scratch server is of the same major version", AREA, lambda: _same_major(scratch)),
    ]


def end_checks(played: Played) -> list[CheckResult]:
    """How the copy stands after the last step. A copy that could not be built whole fails nothing: it is unknown."""
    results = [*_schema(played), *run_checks(_restored(played)), *run_checks(_pair(played))]
    if not played.built.problems:
        return results
    return [_doubted(each, played.built.problems) for each in results]


def for_a_copy(step: Step) -> Step:
    """The step as it can be tried on a copy: without production's transaction numbers."""
    if not isinstance(step.action, SwapIn):
        return step
    told = tuple(each for each in map(told_on_a_copy, step.action.damage) if each is not None)
    return replace(step, action=replace(step.action, damage=told))


def _whole(built: Built) -> Finding:
    if built.problems:
        return unknown(f"not built: {'; '.join(built.problems[:_TOLD])}")
    return passed(f"in {built.seconds:.1f} s")


def _same_major(scratch: Scratch) -> Finding:
    if scratch.same_major:
        return passed(f"PostgreSQL {scratch.major}")
    return unknown(f"it is PostgreSQL {scratch.major}, the target's is another: set PG_BINDIR to one of the same major")


def _doubted(result: CheckResult, problems: Sequence[str]) -> CheckResult:
    if result.outcome is not Outcome.FAIL:
        return result
    said = f"{result.evidence}; but the copy could not be built whole: {problems[0]}"
    return replace(result, outcome=Outcome.UNKNOWN, evidence=said)


def _schema(played: Played) -> list[CheckResult]:
    """The schema against the one that migrations make. A restored one may differ as its backup did: unknown then."""
    try:
        version = _version(played)
        if version is None:
            return []
        results = live_against_built(played.systems, played.scratch, version)
        results += verified_by_script(played.systems, version)
    except ToolkitError as error:
        what = error.what
        return run_checks([Check("the schema is that of the target version", AREA, lambda: failed(what))])
    if played.plan.restores is None:
        return results
    return [
        replace(each, outcome=Outcome.UNKNOWN, evidence=f"perhaps so in the backup: {each.evidence}")
        if each.outcome is Outcome.FAIL
        else each
        for each in results
    ]


def _version(played: Played) -> int | None:
    """The version that the plan leads to; after a restore, the one that the restored state table says."""
    if played.plan.restores is None:
        return played.plan.ends_at.to_version if played.plan.ends_at else None
    folder = read_folder(played.systems.target.migrations)
    return read_state(played.systems.database, folder, played.systems.playbook.database.state_table).version


# Code and schema ------------------------------------------------------------------------------------------------------


def _pair(played: Played) -> list[Check]:
    """Whether the deployment that will run works on the copy, which holds rows. Nothing where nothing is recorded of
    it, which the plan has said, and where the plan ends frozen, since nothing may be written then."""
    if _ends_frozen(played.plan):
        return []
    try:
        deployment = running_after(played.origin, played.plan)
        evidence = gather(played.origin, deployment) if deployment is not None else None
    except ToolkitError:
        return []
    if deployment is None or not evidence:
        return []

    def look() -> Finding:
        return _works(pair_on_copy(played.origin, deployment, played.systems.database, _version(played)))

    return [Check("the deployment that will run works on it", AREA, look)]


def _ends_frozen(plan: Plan) -> bool:
    actions = [step.action for step in plan.steps]
    lifted = any(isinstance(each, ReleaseWrites) and each.stage == "everything" for each in actions)
    return any(isinstance(each, FreezeWrites) for each in actions) and not lifted


def _works(found: PairResult) -> Finding:
    if found.verdict == "incompatible":
        return failed(found.sentence)
    return passed(found.sentence) if found.verdict == "fits" else unknown(found.sentence)


# A restore ------------------------------------------------------------------------------------------------------------


def _restored(played: Played) -> list[Check]:
    swaps = [step.action for step in played.plan.steps if isinstance(step.action, SwapIn)]
    if not swaps:
        return []
    swap = swaps[0]
    mark = mark_of(played.incident, swap.source, played.plan.turn)

    def restored() -> Restored | None:
        with played.systems.database.reading() as conn:
            return read_restored(conn, mark)

    def swapped() -> Swapped | None:
        with played.systems.database.reading() as conn:
            return read_swap(conn, mark)

    def counted(found: Swapped) -> Mapping[str, int]:
        with played.systems.database.reading(within_ms=0) as conn:
            return count_rows(conn, {schema: schema for schema in found.schemas})

    return [
        Check("what was restored is what was backed up", AREA, lambda: _as_backed_up(restored())),
        Check("what was acknowledged since is carried over", AREA, lambda: _carried(swapped(), played.merges)),
        Check("the rows are those that the merge left", AREA, lambda: _rows(swapped(), counted)),
        Check("the damage can be told", AREA, lambda: _told_apart(swap.damage)),
    ]


def _as_backed_up(found: Restored | None) -> Finding:
    if found is None or found.state != "whole":
        return unknown("the copy does not say what was restored on it")
    return passed(found.evidence)


def _carried(found: Swapped | None, merges: Sequence[Mapping[str, Any]]) -> Finding:
    if found is None or found.state != "done":
        return failed("nothing was swapped in on the copy")
    tables = [table for merged in merges for table in merged.get("tables", ())]
    if not tables:
        return unknown("the swap does not say what it carried over")
    sums = {name: sum(each[name] for each in tables) for name in ("inserted", "changed", "deleted", "conflicts")}
    said = f"{sums['inserted']:,} rows inserted, {sums['changed']:,} changed, {sums['deleted']:,} deleted"
    return unknown(f"{said}; {sums['conflicts']:,} conflicts are undecided") if sums["conflicts"] else passed(said)


def _rows(found: Swapped | None, counted: Any) -> Finding:
    if found is None or not found.counts:
        return unknown("this way of swapping does not count the rows that it leaves")
    there = counted(found)
    wrong = [
        f"{table} has {there.get(table, 0):,} rows instead of {rows:,}"
        for table, rows in found.counts.items()
        if there.get(table, 0) != rows
    ]
    if wrong:
        return failed("; ".join(wrong[:_TOLD]))
    return passed(f"{sum(found.counts.values()):,} rows in {len(found.counts)} tables")


def _told_apart(damage: Sequence[Damage]) -> Finding:
    alone = sorted({each.table for each in damage if told_on_a_copy(each) is None})
    if alone:
        return unknown(
            f"the damage to {', '.join(alone)} is told by production's transactions, which a copy has not: "
            "there it was tried as if those tables were undamaged"
        )
    if not damage:
        return passed("nothing is named as damaged: every change since the backup is carried over")
    return passed(f"{len(damage)} damages are told by what they wrote or by a condition")

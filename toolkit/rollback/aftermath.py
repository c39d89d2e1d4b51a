"""How did it leave the database? After a rollback: the schema that the migrations make, the tool's own verify script
passing where it has one, and no conflict left undecided.

Asked once it is known whether the rollback helped, for it takes longer and changes nothing for the users. It builds on
a scratch server and only reads the target. What could not be looked at is unknown, and unknown is not passed.
"""

from toolkit.adapters.conflicts import UNDECIDED, count_undecided, judge_conflicts
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, CheckResult, Finding, run_checks, unknown
from toolkit.errors import ToolkitError
from toolkit.incident import Incident
from toolkit.rollback.built_schema import live_against_built
from toolkit.rollback.freeze import frozen
from toolkit.rollback.own_verify import verified_by_script
from toolkit.rollback.plan import Plan
from toolkit.rollback.runner import RunResult
from toolkit.rollback.scratch import scratch_server

AREA = "database"
CHECKED, CONFLICTS = "database.checked", "conflicts.listed"
SCHEMA = "the live schema is the one that the migrations make"


def aftermath(systems: Systems, incident: Incident, result: RunResult, *, actor: str) -> list[CheckResult]:
    """The live schema where migrations were taken back, conflicts where a backup was restored; journaled.

    [] for a plan that did neither; all unknown after a dry run. Raises only JournalError.
    """
    plan = result.plan
    if not result.executed:
        nothing = unknown("nothing was carried out: this was a dry run")
        names = [SCHEMA] * (plan.ends_at is not None) + [UNDECIDED] * (plan.restores is not None)
        return run_checks(Check(name, AREA, lambda: nothing) for name in names)
    results = _schema(systems, plan) if plan.ends_at is not None else []
    if plan.restores is not None:
        results += run_checks([Check(UNDECIDED, AREA, lambda: _conflicts(systems, incident, actor))])
    if results:
        incident.record_checks(CHECKED, results, actor=actor)
    return results


def _schema(systems: Systems, plan: Plan) -> list[CheckResult]:
    assert plan.ends_at is not None
    try:
        identity = systems.database.identity()
        leave_out = ("grant",) if frozen(systems.database) else ()  # what a freeze has taken is no drift
        with scratch_server(like=identity) as scratch:
            results = live_against_built(systems, scratch, plan.ends_at.to_version, leave_out=leave_out)
        return [*results, *verified_by_script(systems, plan.ends_at.to_version)]
    except ToolkitError as error:
        nothing = unknown(error.what)
        return run_checks([Check(SCHEMA, AREA, lambda: nothing)])


def _conflicts(systems: Systems, incident: Incident, actor: str) -> Finding:
    with systems.database.reading() as conn:
        counted, finding = count_undecided(conn), judge_conflicts(conn)
    if counted:
        told = [{"table": table, "reason": reason, "count": count} for (table, reason), count in counted.items()]
        incident.record(CONFLICTS, {"count": sum(counted.values()), "conflicts": told}, actor=actor)
    return finding

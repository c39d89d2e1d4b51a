"""Did it help? What the target says right after a rollback: version, deployment, health, requests that still fail.

A quick look, not the verification. Where all of it passes the incident counts as mitigated; the proof comes later.
"""

import time

from toolkit.adapters.systems import Systems
from toolkit.adapters.traffic import Traffic
from toolkit.adapters.traffic_log import TrafficLog
from toolkit.checks import Check, CheckResult, Finding, Outcome, failed, judge, overall, run_checks, unknown
from toolkit.errors import PlatformError
from toolkit.incident import Incident, State
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.plan import Plan
from toolkit.rollback.runner import RunResult
from toolkit.rollback.state_tables import Recorded, read_recorded
from toolkit.verify.steady import request_reader

AREA = "recovery"
CHECKED = "recovery.checked"
LOOK_EVERY_S = 0.25
HEALTHY_WITHIN_S = 10.0


def recovery(systems: Systems, incident: Incident, result: RunResult, *, actor: str) -> list[CheckResult]:
    """Look whether a rollback helped; journal it; where every check passes, advance the incident to mitigated.

    Waits until enough requests were seen and few enough of them fail, for two of the monitor's windows at most. After a
    dry run every check is unknown. Raises only JournalError.
    """
    plan = result.plan
    checks = [
        *([Check("the state table", AREA, lambda: _version(systems, plan))] if plan.ends_at else []),
        *([Check("the deployment", AREA, lambda: _deployment(systems, plan))] if plan.deployment else []),
        Check("health", AREA, lambda: _health(systems)),
        *([Check("the error rate", AREA, lambda: _error_rate(systems))] if systems.hosted else []),
    ]
    if not result.executed:
        nothing = unknown("nothing was carried out: this was a dry run")
        return run_checks(Check(check.name, AREA, lambda: nothing) for check in checks)
    results = run_checks(checks)
    incident.record_checks(CHECKED, results, actor=actor)
    if overall(results) is Outcome.PASS and incident.state is not None:
        incident.advance(State.MITIGATED, f"the rollback helped: {results[-1].evidence}", actor=actor)
    return results


def _version(systems: Systems, plan: Plan) -> Finding:
    assert plan.ends_at is not None
    folder = read_folder(systems.target.migrations)
    _, recorded = read_recorded(systems.database, systems.playbook.database.state_table, folder)
    wanted = Recorded(plan.ends_at.to_version, False)
    return judge(recorded == wanted, f"{recorded}; the plan ends at {wanted}")


def _deployment(systems: Systems, plan: Plan) -> Finding:
    live = systems.platform.production(systems.production_host).id
    return judge(live == plan.deployment, f"production points at {live}; the plan ends at {plan.deployment}")


def _health(systems: Systems) -> Finding:
    """Every health endpoint of the playbook, asked until all are healthy or the time is up."""
    deadline = time.monotonic() + HEALTHY_WITHIN_S
    while True:
        answers = [systems.service.probe(path) for path in systems.playbook.endpoints.health_checks]
        told = ", ".join(
            f"{each.path} {each.status_code or each.error} {each.status or ''}".strip() for each in answers
        )
        well = all(each.healthy for each in answers)
        if well or time.monotonic() >= deadline:
            return judge(well, told)
        time.sleep(LOOK_EVERY_S)


def _error_rate(systems: Systems) -> Finding:
    """Of the requests since now, by production's own log."""
    monitoring, limit = systems.target.monitoring, systems.playbook.thresholds.error_rate
    keep_s = 2 * monitoring.window_s
    log = TrafficLog(systems.platform, systems.production_host, request_reader(systems.playbook), keep_s=keep_s)
    deadline = time.monotonic() + keep_s
    try:
        while True:
            if not log.open:
                log.follow()
            seen = log.window(monitoring.window_s)
            enough = seen.requests >= monitoring.min_requests
            if enough and (seen.error_rate or 0) < limit:
                return judge(True, _said(seen, limit))
            if time.monotonic() >= deadline:
                trouble = f"; {log.trouble}" if log.trouble else ""
                few = unknown(f"{_said(seen, limit)}; {monitoring.min_requests} requests are needed{trouble}")
                return failed(_said(seen, limit)) if enough else few
            time.sleep(LOOK_EVERY_S)
    except PlatformError as error:
        return unknown(error.what)
    finally:
        log.close()


def _said(seen: Traffic, limit: float) -> str:
    rate = "unknown" if seen.error_rate is None else f"{seen.error_rate:.1%}"
    told = f"{seen.failed} of {seen.requests} requests failed in {seen.window_s:.1f} s: {rate}, limit {limit:.0%}"
    return f"{told}; {seen.errors[0][0].message}" if seen.errors else told

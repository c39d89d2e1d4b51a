"""Does the work behind the scenes go on? Sessions, locks, the job queue, the scheduler. It reads only."""

import contextlib

from toolkit.adapters.readings import QueueState, activity, queue_state
from toolkit.adapters.service import Health
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, Finding, failed, judge, passed, unknown
from toolkit.clock import parse_utc, utc_now, wait_until
from toolkit.errors import DeadlineExceeded

AREA = "background"
BLOCKED_TOO_LONG_S = 2.0
NEXT_RUN_WITHIN_S = 6.0


def background_checks(systems: Systems) -> list[Check]:
    """What the server is busy with, the queue where the playbook names one, the scheduler."""
    checks = [
        Check("sessions are few enough and none is blocked", "performance", lambda: _sessions(systems)),
    ]
    if systems.playbook.endpoints.scheduler:
        checks.append(Check("the scheduler is healthy", AREA, lambda: _scheduler(systems)))
    if field := systems.playbook.endpoints.scheduler_last_run:
        checks.append(Check("the scheduler runs", AREA, lambda: _runs(systems, field)))
    if schema := systems.playbook.database.queue_schema:
        checks.append(Check("the job queue has few failed and no stuck jobs", AREA, lambda: _queue(systems, schema)))
    return checks


def _sessions(systems: Systems) -> Finding:
    with systems.database.reading() as conn:
        now = activity(conn)
    most = systems.playbook.thresholds.active_connections
    evidence = (
        f"{now.sessions} sessions, {now.active} active (at most {most}), {now.blocked} blocked"
        f"{f' for up to {now.longest_blocked_s:.1f} s' if now.blocked else ''}"
        f"; the longest query runs for {now.longest_active_s:.1f} s"
    )
    return judge(now.active <= most and now.longest_blocked_s < BLOCKED_TOO_LONG_S, evidence)


def _queue(systems: Systems, schema: str) -> Finding:
    """A job that could run and is not taken is waited for, as long as the scheduler's next run."""
    limits, minute_s = systems.playbook.thresholds, systems.target.monitoring.minute_s
    longest_s = limits.queue_waits_minutes * minute_s

    def seen() -> QueueState | None:
        with systems.database.reading() as conn:
            return queue_state(conn, schema)

    def keeps_up() -> bool:
        now = seen()
        return now is None or (now.oldest_ready_s or 0) <= longest_s

    with contextlib.suppress(DeadlineExceeded):
        wait_until(keeps_up, within=NEXT_RUN_WITHIN_S, what="the waiting jobs to be taken", every=0.25)
    if (queue := seen()) is None:
        return failed(f"there is no job queue in schema {schema}")
    most, waits_s = limits.queue_failed_jobs, queue.oldest_ready_s
    evidence = f"{queue.failed} failed (at most {most}), {queue.stuck} stuck, {queue.ready} ready"
    if waits_s is not None:
        evidence += f", the oldest for {waits_s:.0f} s (at most {longest_s:g})"
    keeps = queue.failed <= most and not queue.stuck and (waits_s or 0) <= longest_s
    return judge(keeps, f"{evidence}; layout {queue.layout}")


def _scheduler(systems: Systems) -> Finding:
    path = systems.playbook.endpoints.scheduler
    health = systems.service.probe(path)
    if not health.healthy or health.body is None:
        return failed(f"{path}: {health.error or health.status_code}, {health.status or 'no status'}")
    if (health.body.model_extra or {}).get("enabled") is False:
        return failed(f"{path} answers, and says that the scheduler is switched off")
    return passed(f"{path} is healthy")


def _runs(systems: Systems, field: str) -> Finding:
    """It ran a while ago, by its own account; else its next run is waited for."""
    path, limit_s = systems.playbook.endpoints.scheduler, systems.target.monitoring.silence_s

    def ran_in_time() -> bool:
        age = _since_last_run(systems.service.probe(path), field)
        return age is not None and age <= limit_s

    if not ran_in_time():
        with contextlib.suppress(DeadlineExceeded):
            wait_until(ran_in_time, within=NEXT_RUN_WITHIN_S, what="the scheduler to run", every=0.25)
    health = systems.service.probe(path)
    age = _since_last_run(health, field)
    if age is None:
        told = field in (health.body.model_extra or {} if health.body else {})
        return unknown(f"{path} {'says that nobody has called it yet' if told else f'does not tell {field}'}")
    return judge(age <= limit_s, f"{path}: the scheduler ran {age:.0f} s ago (at most {limit_s:g} s)")


def _since_last_run(health: Health, field: str) -> float | None:
    """Seconds since the scheduler ran, by its own account; None where it tells none."""
    ran = (health.body.model_extra or {}).get(field) if health.body else None
    return max((utc_now() - parse_utc(str(ran))).total_seconds(), 0.0) if ran else None

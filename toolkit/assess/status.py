"""The status of each part as checks, made from what was seen. A side that told nothing is unknown, never fine."""

from functools import partial

from toolkit.adapters.service import Health
from toolkit.assess.views import Views
from toolkit.checks import Check, Finding, judge, unknown
from toolkit.playbook import Playbook


def status_checks(views: Views, playbook: Playbook) -> list[Check]:
    """One check for each part: health endpoints, database, migrations, deployment, logs, queue."""
    health = views.health.value or ()
    return [
        *(Check(path, "service", partial(_health, answer)) for path, answer in health),
        Check("database answers", "database", lambda: _database(views)),
        Check("sessions and locks", "database", lambda: _sessions(views, playbook)),
        Check("events come in", "database", lambda: _flow(views)),
        Check("migrations", "migrations", lambda: _migrations(views)),
        Check("production deployment", "deployments", lambda: _deployment(views)),
        Check("requests succeed", "logs", lambda: _requests(views, playbook)),
        Check("job queue", "queue", lambda: _queue(views, playbook)),
    ]


def _health(answer: Health) -> Finding:
    if answer.status_code is None:
        return judge(False, f"no answer: {answer.error}")
    return judge(answer.healthy, f"status {answer.status_code} in {answer.latency_ms:.0f} ms")


def _database(views: Views) -> Finding:
    seen = views.database
    if seen.value is None:
        return judge(False, seen.trouble or "no answer")
    who = seen.value.identity
    return judge(True, f"PostgreSQL {who.version}, database {who.database} on {who.host}:{who.port}")


def _sessions(views: Views, playbook: Playbook) -> Finding:
    if views.database.value is None:
        return unknown(views.database.trouble or "not seen")
    now, most = views.database.value.activity, playbook.thresholds.active_connections
    words = (
        f"{now.active} active of {now.sessions}, {now.blocked} blocked (the longest for {now.longest_blocked_s:.1f} s)"
    )
    return judge(now.blocked == 0 and now.active <= most, words)


def _flow(views: Views) -> Finding:
    if views.database.value is None:
        return unknown(views.database.trouble or "not seen")
    flow = views.database.value.flow
    if flow.newest_age_s is None:
        return unknown("there is no event at all")
    return judge(flow.newest_age_s < 60, f"the newest is {flow.newest_age_s:.0f} s old, {flow.events} in 15 minutes")


def _migrations(views: Views) -> Finding:
    if views.database.value is None:
        return unknown(views.database.trouble or "not seen")
    state, stable = views.database.value.migration, views.database.value.stable
    if state.dirty is None:
        return unknown(state.trouble or "the state table is not one that can be read")
    said = "no migration" if state.version is None else f"version {state.version}"
    if stable is None:
        return unknown(f"{said}; no version was ever recorded as verified")
    words = f"{said}, last verified {stable.version}{', marked dirty' if state.dirty else ''}"
    return judge(not state.dirty and state.version == stable.version, words)


def _deployment(views: Views) -> Finding:
    if views.platform.value is None:
        return unknown(views.platform.trouble or "not seen")
    live = views.platform.value.production
    stable = views.database.value.stable if views.database.value else None
    needs = "unknown" if live.schema_version is None else str(live.schema_version)
    words = f"{live.id}, built for schema {needs}: {live.commit_message or 'no message'}"
    if stable is None:
        return unknown(f"{words}; no deployment was ever recorded as verified")
    return judge(live.id == stable.deployment, words)


def _requests(views: Views, playbook: Playbook) -> Finding:
    traffic = views.traffic.value
    if traffic is None or traffic.error_rate is None:
        return unknown(views.traffic.trouble or "no request was logged while looking")
    words = f"{traffic.failed} of {traffic.requests} failed in {traffic.window_s:.0f} s"
    return judge(traffic.error_rate < playbook.thresholds.error_rate, words)


def _queue(views: Views, playbook: Playbook) -> Finding:
    view = views.database.value
    if view is None or view.queue is None:
        return unknown(views.database.trouble or "there is no queue to look at")
    words = f"{view.queue.failed} failed, {view.queue.stuck} stuck, {view.queue.ready} ready"
    return judge(view.queue.failed <= playbook.thresholds.queue_failed_jobs and view.queue.stuck == 0, words)

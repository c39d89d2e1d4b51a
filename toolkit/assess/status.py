"""The status of each part as checks, made from what was seen. A side that told nothing is unknown, never fine."""

from functools import partial

from toolkit.adapters.service import Health
from toolkit.assess.views import Views
from toolkit.checks import Check, Finding, judge, unknown
from toolkit.detect.signals import SILENCE_SPANS, steady
from toolkit.playbook import Playbook, Target


def status_checks(views: Views, playbook: Playbook, target: Target) -> list[Check]:
    """One check for each part: health endpoints, database, watched columns, migrations, deployment, logs, queue."""
    health = views.health.value or ()
    return [
        *(Check(path, "service", partial(_health, answer)) for path, answer in health),
        Check("database answers", "database", lambda: _database(views)),
        Check("sessions and locks", "database", lambda: _sessions(views, playbook)),
        Check("events come in", "database", lambda: _flow(views, target.monitoring.silence_s)),
        *(
            Check(f"values of {column}", "database", partial(_values, views, column, playbook.thresholds.value_shift))
            for column in playbook.database.watched_columns
        ),
        Check("migrations", "migrations", lambda: _migrations(views)),
        *(_platform_checks(views, playbook) if target.platform != "none" else []),
        *([Check("job queue", "queue", lambda: _queue(views, playbook))] if playbook.database.queue_schema else []),
    ]


def _platform_checks(views: Views, playbook: Playbook) -> list[Check]:
    return [
        Check("production deployment", "deployments", lambda: _deployment(views)),
        Check("requests succeed", "logs", lambda: _requests(views, playbook)),
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
    seen = views.of_database(lambda view: view.activity)
    if seen.value is None:
        return unknown(seen.trouble or "not seen")
    now, most = seen.value, playbook.thresholds.active_connections
    words = (
        f"{now.active} active of {now.sessions}, {now.blocked} blocked (the longest for {now.longest_blocked_s:.1f} s)"
    )
    return judge(now.blocked == 0 and now.active <= most, words)


def _flow(views: Views, silence_s: float) -> Finding:
    """Silence is judged as the monitor judges it: by the playbook's limit, where events had come steadily before."""
    seen = views.of_database(lambda view: view.flow)
    if seen.value is None:
        return unknown(seen.trouble or "not seen")
    flow = seen.value
    if flow.newest_age_s is None:
        return unknown("there is no event at all")
    words = f"the newest is {flow.newest_age_s:.0f} s old (allowed here: {silence_s:g} s)"
    words += f", {flow.events} came in the {SILENCE_SPANS * silence_s:g} s before it"
    if flow.newest_age_s > silence_s and not steady(flow):
        return unknown(f"{words}: too few to tell by them")
    return judge(flow.newest_age_s <= silence_s, words)


def _values(views: Views, column: str, limit: float) -> Finding:
    """A watched column that cannot be read is said, not passed over."""
    seen = views.of_database(lambda view: view.shares[column])
    if seen.value is None:
        return unknown(seen.trouble or "not seen")
    if (apart := views.apart(column)) is None:
        return unknown("nothing was recorded to compare with")
    return judge(apart <= limit, f"{apart:.0%} of the sampled values are others than before, limit {limit:.0%}")


def _migrations(views: Views) -> Finding:
    seen, stable = views.of_database(lambda view: view.migration), views.of_database(lambda view: view.stable)
    state = seen.value
    if state is None or state.dirty is None:
        return unknown(seen.trouble or (state.trouble if state else "") or "the state table cannot be read")
    said = "no migration" if state.version is None else f"version {state.version}"
    if stable.value is None:
        return unknown(f"{said}; {stable.trouble or 'no version was ever recorded as verified'}")
    words = f"{said}, last verified {stable.value.version}{', marked dirty' if state.dirty else ''}"
    return judge(not state.dirty and state.version == stable.value.version, words)


def _deployment(views: Views) -> Finding:
    if views.platform.value is None:
        return unknown(views.platform.trouble or "not seen")
    live = views.platform.value.production
    stable = views.of_database(lambda view: view.stable)
    needs = "unknown" if live.schema_version is None else str(live.schema_version)
    words = f"{live.id}, built for schema {needs}: {live.commit_message or 'no message'}"
    if stable.value is None:
        return unknown(f"{words}; {stable.trouble or 'no deployment was ever recorded as verified'}")
    return judge(live.id == stable.value.deployment, words)


def _requests(views: Views, playbook: Playbook) -> Finding:
    traffic = views.traffic.value
    if traffic is None or traffic.error_rate is None:
        return unknown(views.traffic.trouble or "no request was logged while looking")
    words = f"{traffic.failed} of {traffic.requests} failed in {traffic.window_s:.0f} s"
    return judge(traffic.error_rate < playbook.thresholds.error_rate, words)


def _queue(views: Views, playbook: Playbook) -> Finding:
    seen = views.of_database(lambda view: view.queue)
    if seen.value is None:
        return unknown(seen.trouble or "there is no queue to look at")
    queue = seen.value
    words = f"{queue.failed} failed, {queue.stuck} stuck, {queue.ready} ready"
    return judge(queue.failed <= playbook.thresholds.queue_failed_jobs and queue.stuck == 0, words)

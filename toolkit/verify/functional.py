"""Does the service do its work? The webhook refuses a wrong signature, takes a right one, and records it once.

What it sends is synthetic, and is removed again whatever comes in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import relation
from toolkit.adapters.service import ServiceClient, WebhookEvent
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, CheckResult, Finding, failed, judge, passed, run_check, unknown
from toolkit.errors import ToolkitError
from toolkit.playbook import SyntheticEvent
from toolkit.verify.once import Once
from toolkit.verify.steady import SteadyWindow
from toolkit.verify.synthetic import synthetic_event
from toolkit.verify.traces import EVENT_PREFIX, Traces

AREA = "functional"
FEWEST_DELIVERIES = 5


def functional_checks(systems: Systems, window: SteadyWindow) -> list[Check]:
    """Only for a service whose playbook says which events it takes."""
    kinds = systems.playbook.verification.events
    if not kinds:
        return []
    recorded = Once(lambda: run_check(Check("", AREA, lambda: _record_and_remove(systems, kinds))))
    return [
        Check("a webhook with a wrong signature is refused", "security", lambda: _refused(systems, kinds[0])),
        Check("signed webhooks are taken, recorded once, and removed again", AREA, lambda: _finding(recorded.seen())),
        Check("webhooks are processed", AREA, lambda: _processed(systems, window, recorded)),
    ]


def _finding(result: CheckResult) -> Finding:
    return Finding(result.outcome, result.evidence)


def _refused(systems: Systems, kind: SyntheticEvent) -> Finding:
    """What should not have been taken is removed as well."""
    event = synthetic_event(kind)
    try:
        with ServiceClient(systems.service.config) as service:
            answer = service.send_event(event, signature="wrong")
        with systems.database.reading() as conn:
            rows = _recorded(conn, systems, event)
    finally:
        removal = Traces(systems, [event]).remove()
    evidence = f"{systems.playbook.endpoints.webhook}: {answer.status_code or answer.error}, {rows} recorded"
    if not rows and not removal.removed and removal.complete:
        return judge(answer.status_code == 401, evidence)
    return failed(f"{evidence}; {removal.told}")


@dataclass(frozen=True)
class _Sent:
    """What became of one synthetic event: the answers to its deliveries, and how often it was recorded."""

    kind: SyntheticEvent
    statuses: tuple[int | str | None, ...]
    rows: int

    @property
    def wrong(self) -> str | None:
        """What is wrong about it, in words."""
        name = f"{self.kind.type}{f' ({self.kind.failure_reason})' if self.kind.failure_reason else ''}"
        if any(not isinstance(status, int) or not 200 <= status < 300 for status in self.statuses):
            return f"{name} was answered with {' and '.join(map(str, self.statuses))}"
        return None if self.rows == 1 else f"{name} was sent {len(self.statuses)} times and is there {self.rows} times"


def _record_and_remove(systems: Systems, kinds: Sequence[SyntheticEvent]) -> Finding:
    """Send each kind twice, look, and remove all of it. What is left behind fails, whatever else was found."""
    events = [synthetic_event(kind) for kind in kinds]
    sent: list[_Sent] = []
    trouble: str | None = None
    try:
        with ServiceClient(systems.service.config) as service:
            for kind, event in zip(kinds, events, strict=True):
                sent.append(_send_twice(systems, service, kind, event))
    except ToolkitError as error:
        trouble = error.what
    finally:
        removal = Traces(systems, events).remove()
    wrong = [told for each in sent if (told := each.wrong)]
    evidence = f"{len(sent)} of {len(kinds)} kinds of events, each sent twice; {removal.told}"
    if wrong or not removal.complete:
        return failed("; ".join([*wrong, evidence]))
    return unknown(f"{evidence}; {trouble}") if trouble else passed(evidence)


def _send_twice(systems: Systems, service: ServiceClient, kind: SyntheticEvent, event: WebhookEvent) -> _Sent:
    answers = [service.send_event(event, signature="valid") for _ in range(2)]
    statuses = tuple(answer.error or answer.status_code for answer in answers)
    with systems.database.reading() as conn:
        return _Sent(kind, statuses, _recorded(conn, systems, event))


def _processed(systems: Systems, window: SteadyWindow, recorded: Once[CheckResult]) -> Finding:
    """By observation, whatever a variable says: rows appear as webhooks are answered; without traffic, by our own."""
    names, path = systems.playbook.database, systems.playbook.endpoints.webhook
    traffic = window.traffic()
    delivered = traffic.succeeded_at(path)
    query = sql.SQL(
        """
        SELECT count(*)
        FROM {table}
        WHERE {time} > clock_timestamp() - make_interval(secs => %(seconds)s) AND NOT starts_with({key}, %(own)s)
        """
    ).format(
        table=relation(names.events_table), time=sql.Identifier(names.events_time), key=sql.Identifier(names.events_key)
    )
    with systems.database.reading() as conn:
        row = conn.execute(query, {"seconds": window.age_s, "own": EVENT_PREFIX}).fetchone()
    assert row is not None
    evidence = f"{row[0]} new rows in {names.events_table} within {window.age_s:.0f} s, {delivered} webhooks answered"
    if row[0]:
        return passed(evidence)
    if delivered >= FEWEST_DELIVERIES:
        return failed(evidence)
    own = _finding(recorded.seen())
    return Finding(own.outcome, f"{evidence}, too few to judge by; by the synthetic ones: {own.evidence}")


def _recorded(conn: Connection, systems: Systems, event: WebhookEvent) -> int:
    """How often the event is there."""
    names = systems.playbook.database
    query = sql.SQL("SELECT count(*) FROM {} WHERE {} = %(id)s")
    row = conn.execute(
        query.format(relation(names.events_table), sql.Identifier(names.events_key)), {"id": event.id}
    ).fetchone()
    assert row is not None
    return int(row[0])

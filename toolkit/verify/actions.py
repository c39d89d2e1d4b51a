"""Does what a person does still work, and are people notified? Each action is tried on a row of its own.

A synthetic event opens the row, the action is done to it as a button would, and the database says what came of it. What
that left behind is removed again, whatever comes in between.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import relation, split_name
from toolkit.adapters.service import Answer, ServiceClient, WebhookEvent
from toolkit.adapters.systems import Systems
from toolkit.checks import Check, CheckResult, Finding, failed, judge, passed, run_check, unknown
from toolkit.clock import wait_until
from toolkit.errors import DeadlineExceeded
from toolkit.playbook import ManualAction, Notifications
from toolkit.verify.once import Once
from toolkit.verify.synthetic import synthetic_event
from toolkit.verify.traces import Traces

AREA = "functional"
OPENED_WITHIN_S = 5.0
NEEDS_A_LOGIN = (401, 403)


def action_checks(systems: Systems) -> list[Check]:
    """The playbook's manual actions, one by one, and its notifications; only what it names."""
    configured = systems.playbook.verification
    tried = {action.path: _tried_once(systems, action) for action in configured.actions if configured.events}
    checks = [Check(f"{path} works by hand", AREA, _finding_of(once)) for path, once in tried.items()]
    if sent := configured.notifications:
        by_hand = tried.get(sent.by or "")
        checks.append(Check("notifications are sent", "background", lambda: _notified(systems, sent, by_hand)))
    return checks


def _tried_once(systems: Systems, action: ManualAction) -> Once[CheckResult]:
    return Once(lambda: run_check(Check("", AREA, lambda: _try(systems, action))))


def _finding_of(once: Once[CheckResult]) -> Callable[[], Finding]:
    return lambda: Finding(once.seen().outcome, once.seen().evidence)


@dataclass(frozen=True)
class _Row:
    """The row that the event opened: the value that names it, the one to be changed, and how often it is recorded."""

    name: str
    value: str | None
    records: int


def _try(systems: Systems, action: ManualAction) -> Finding:
    event = synthetic_event(systems.playbook.verification.events[0])
    try:
        with ServiceClient(systems.service.config) as service:
            taken = service.send_event(event, signature="valid")
            if not taken.acknowledged:
                return failed(f"no row to try it on: the event was answered with {taken.status_code or taken.error}")
            before = _opened(systems, action, event)
            if before is None:
                return failed(f"no row to try it on: none was opened within {OPENED_WITHIN_S:g} s")
            answer = service.press(re.sub(r"\{.*\}", before.name, action.path))
        with systems.database.reading() as conn:
            after = _row(conn, systems, action, event)
        found = _judge(action, answer, before, after)
    finally:
        removal = Traces(systems, [event]).remove()
    return found if removal.complete else failed(f"{found.evidence}; {removal.told}")


def _judge(action: ManualAction, answer: Answer, before: _Row, after: _Row | None) -> Finding:
    told = f"answered with {answer.status_code or answer.error}"
    if answer.status_code in NEEDS_A_LOGIN:
        return unknown(f"{told}: it wants a person's login; try it by hand")
    changed = after is not None and after.value != before.value
    recorded = action.records is None or (after is not None and after.records > before.records)
    evidence = f"{told}; {action.changes} {'changed' if changed else 'did not change'}"
    if action.records:
        evidence += f", {action.records} {'names' if recorded else 'does not name'} it"
    return judge(answer.acknowledged and changed and recorded, evidence)


def _opened(systems: Systems, action: ManualAction, event: WebhookEvent) -> _Row | None:
    """The row that the event opened; None when it did not come in time."""

    def look() -> _Row | None:
        with systems.database.reading() as conn:
            return _row(conn, systems, action, event)

    try:
        return wait_until(look, within=OPENED_WITHIN_S, what="a row to be opened", every=0.1)
    except DeadlineExceeded:
        return None


def _row(conn: Connection, systems: Systems, action: ManualAction, event: WebhookEvent) -> _Row | None:
    table, column = action.changes.rsplit(".", 1)
    named = re.findall(r"\{(.*)\}", action.path)[0]
    members = {split_name(name): by for name, by in systems.playbook.verification.traces.items()}
    query = sql.SQL("SELECT {named}::text, {column}::text FROM {table} WHERE {member} = %(member)s").format(
        named=sql.Identifier(named),
        column=sql.Identifier(column),
        table=relation(table),
        member=sql.Identifier(members[split_name(table)]),
    )
    row = conn.execute(query, {"member": event.membership_id}).fetchone()
    return _Row(row[0], row[1], _records(conn, action, row[0])) if row else None


def _records(conn: Connection, action: ManualAction, name: str) -> int:
    if action.records is None:
        return 0
    table, column = action.records.rsplit(".", 1)
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}::text = %(name)s").format(relation(table), sql.Identifier(column))
    row = conn.execute(query, {"name": name}).fetchone()
    return int(row[0]) if row else 0


def _notified(systems: Systems, sent: Notifications, by_hand: Once[CheckResult] | None) -> Finding:
    """By what was recorded lately; where nothing was, it is the one by hand that tells."""
    since_s = systems.target.monitoring.silence_s
    recent = sql.SQL("{} > now() - make_interval(secs => %(since_s)s)").format(sql.Identifier(sent.time))
    are = [
        sql.SQL("{}::text = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in sent.where.items()
    ]
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
        relation(sent.table), sql.SQL(" AND ").join([recent, *are])
    )
    with systems.database.reading() as conn:
        row = conn.execute(query, {"since_s": since_s}).fetchone()
    assert row is not None
    evidence = f"{row[0]} were recorded in {sent.table} in the last {since_s:g} s"
    if row[0]:
        return passed(evidence)
    if by_hand is None:
        return unknown(f"{evidence}; whether any was due is not known")
    own = by_hand.seen()
    return Finding(own.outcome, f"{evidence}; the one by hand: {own.evidence}")

"""The rows to start with, by COPY: what `history` invents, written into the tables of schema version 8.

It owns the mapping from history to columns. It streams, so memory stays flat however many rows are asked for.
"""

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import LiteralString

import psycopg

from toolkit.clock import utc_now
from toolkit.drill.schema.history import COMPANIES, FAILURE_REASONS, PastCase, PastEvent, past_cases, past_events

__all__ = ["COMPANIES", "FAILURE_REASONS", "seed"]

LINES_PER_WRITE = 2_000
RECENT_JOBS = 200
NULL = r"\N"

COPY_SETTINGS = """
COPY creator_settings (company_id, enable_push, enable_dm, incentive_days, reminder_offsets_days, updated_at)
FROM STDIN
"""
COPY_CASES = """
COPY recovery_cases (id, company_id, membership_id, user_id, status, failure_reason, first_failure_at, last_nudge_at,
                     attempts, incentive_days, recovered_at, recovered_amount_cents)
FROM STDIN
"""
COPY_EVENTS = """
COPY events (whop_event_id, type, membership_id, company_id, payload, processed, created_at, processed_at)
FROM STDIN
"""
COPY_ACTIONS = """
COPY recovery_actions (case_id, type, channel, metadata, created_at, source)
FROM STDIN
"""
COPY_JOBS = """
COPY pgboss.job (name, state, data, retry_limit, retry_count, start_after, started_on, completed_on, singleton_key,
                 singleton_on, expire_in, created_on, keep_until, policy)
FROM STDIN
"""


def seed(conn: psycopg.Connection, *, seed: int, events: int = 20_000, cases: int = 5_000) -> None:
    """Fill an empty schema of version 8 with the last 60 days, in one transaction; then ANALYZE.

    `conn` is the schema owner's. Event ids are 'evt_seed_<n>'. The rows depend on `seed` and the clock alone; all five
    failure reasons occur as soon as there are five cases.
    """
    now = utc_now()
    newest = deque((case for case in past_cases(seed, cases, now) if case.attempts), maxlen=RECENT_JOBS)
    happened = past_events(seed, events, past_cases(seed, cases, now), now)
    with conn.transaction():
        _copy(conn, COPY_SETTINGS, _settings_lines(now))
        _copy(conn, COPY_CASES, map(_case_line, past_cases(seed, cases, now)))
        _copy(conn, COPY_EVENTS, map(_event_line, happened))
        _copy(conn, COPY_ACTIONS, (line for case in past_cases(seed, cases, now) for line in _action_lines(case)))
        _copy(conn, COPY_JOBS, chain(map(_reminder_job_line, newest), _report_job_lines(now)))
    with conn.transaction():
        conn.execute("ANALYZE events, recovery_cases, recovery_actions, creator_settings, pgboss.job")


def _copy(conn: psycopg.Connection, statement: LiteralString, lines: Iterator[str]) -> None:
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        while block := list(islice(lines, LINES_PER_WRITE)):
            copy.write("\n".join(block) + "\n")


def _line(*values: str | int | datetime | None) -> str:
    """One line of COPY's text format. Nothing that is invented holds a tab, a newline or a backslash."""
    return "\t".join(NULL if value is None else str(value) for value in values)


def _settings_lines(now: datetime) -> Iterator[str]:
    for number, company in enumerate(COMPANIES):
        push, direct_message = number % 7 != 3, number % 5 != 4
        changed = now - timedelta(days=70 + number)
        yield _line(company, str(push), str(direct_message), (0, 3, 7)[number % 3], "{0,2,4}", changed)


def _case_line(case: PastCase) -> str:
    recovered = case.status == "recovered"
    return _line(
        case.id,
        case.company,
        case.membership,
        case.user,
        case.status,
        case.reason,
        case.failed_at,
        case.nudged_at(case.attempts - 1) if case.attempts else None,
        case.attempts,
        3,
        case.ended_at if recovered else None,
        case.price_cents if recovered else None,
    )


def _event_line(event: PastEvent) -> str:
    name = f"evt_seed_{event.number}"
    reason = f'"{event.reason}"' if event.reason else "null"
    payload = (
        f'{{"id": "{name}", "type": "{event.type}", "created_at": "{event.at.isoformat()}", "data": {{'
        f'"id": "pay_seed_{event.number}", "membership_id": "{event.membership}", "user_id": "{event.user}", '
        f'"company_id": "{event.company}", "amount": {event.price_cents}, "currency": "usd", '
        f'"failure_reason": {reason}}}}}'
    )
    return _line(name, event.type, event.membership, event.company, payload, "t", event.at, event.at)


def _action_lines(case: PastCase) -> Iterator[str]:
    for attempt in range(case.attempts):
        metadata = f'{{"attempt": {attempt + 1}, "incentive_days": 3}}'
        yield _line(case.id, "nudge", "push" if attempt else "dm", metadata, case.nudged_at(attempt), "scheduler")
    if case.status in ("cancelled", "terminated"):
        action = "cancel" if case.status == "cancelled" else "terminate"
        yield _line(case.id, action, None, "{}", case.ended_at, "operator")


def _reminder_job_line(case: PastCase) -> str:
    """The job that carried out a case's latest reminder."""
    worked = case.nudged_at(case.attempts - 1)
    data = f'{{"caseId": "{case.id}", "attempt": {case.attempts}}}'
    key, day = f"{case.id}:{case.attempts}", case.failed_at.date().isoformat()
    done = worked + timedelta(milliseconds=80)
    kept = worked + timedelta(days=14)
    return _line(
        "reminders", "completed", data, 10, 0, worked, worked, done, key, day, "60 s", worked, kept, "standard"
    )


def _report_job_lines(now: datetime) -> Iterator[str]:
    """A report for each company, waiting for its hour within the next week."""
    for number, company in enumerate(COMPANIES):
        start = now + timedelta(days=1, hours=7 * number)
        data, kept = f'{{"companyId": "{company}"}}', start + timedelta(days=14)
        yield _line(
            "weekly-report", "created", data, 2, 0, start, None, None, None, None, "15 min", now, kept, "standard"
        )

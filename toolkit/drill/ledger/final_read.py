"""The final read: what the service's database holds, by plain SQL of our own, in one snapshot.

It shares no query with the service or with the toolkit's verification. It never writes. Rows that a policy would hide
are an error here, never an empty answer.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row, tuple_row

from toolkit.errors import DatabaseError, UsageError

ROWS_AT_A_TIME = 50_000


@dataclass(frozen=True)
class CaseState:
    """All recovery cases of one membership at one company. `booked` is what the recovered ones won back, in cents."""

    membership_id: str
    company_id: str
    cases: int
    open: int
    booked: int | None


@dataclass(frozen=True)
class ProcessedEvent:
    """An event's row that the service has dealt with. `processed_at` is UTC."""

    whop_event_id: str
    processed_at: datetime


@contextlib.contextmanager
def snapshot(conn: psycopg.Connection) -> Iterator[None]:
    """All reads inside see the same moment. Raises DatabaseError when the role may not see every row."""
    if conn.info.transaction_status is not TransactionStatus.IDLE:
        raise UsageError("The ledger is compared over a connection that is in a transaction", next="use a fresh one")
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            conn.execute("SET LOCAL row_security = off")
            yield
    except psycopg.Error as error:
        raise DatabaseError(
            f"The final read failed: {error.diag.message_primary or type(error).__name__}",
            target=conn.info.dbname,
            state="nothing was compared, so nothing is known to be whole",
            next="repeat the accounting as a role that sees all rows",
        ) from error


def event_ids(conn: psycopg.Connection) -> Iterator[str]:
    """Every event's id, once for each row, in no order. A row without one gives '(no id)'."""
    with conn.cursor("toolkit_final_read", row_factory=tuple_row) as cursor:
        cursor.itersize = ROWS_AT_A_TIME
        cursor.execute("SELECT coalesce(whop_event_id, '(no id)') FROM public.events")
        for (one,) in cursor:
            yield one


def processed_events(conn: psycopg.Connection, ids: Sequence[str]) -> dict[str, datetime]:
    """When the service dealt with each of these events. Those that it only stored, or that are absent, are left out."""
    with conn.cursor(row_factory=class_row(ProcessedEvent)) as cursor:
        cursor.execute(
            """
            SELECT whop_event_id, processed_at
            FROM public.events
            WHERE whop_event_id = ANY (%(ids)s)
              AND processed
              AND processed_at IS NOT NULL
            """,
            {"ids": list(ids)},
        )
        return {event.whop_event_id: event.processed_at for event in cursor}


def case_states(conn: psycopg.Connection, memberships: Sequence[str]) -> dict[tuple[str, str], CaseState]:
    """The cases of these memberships, by membership and company. A membership without any is left out."""
    with conn.cursor(row_factory=class_row(CaseState)) as cursor:
        cursor.execute(
            """
            SELECT membership_id,
                   company_id,
                   count(*)                                AS cases,
                   count(*) FILTER (WHERE status = 'open') AS open,
                   sum(recovered_amount_cents)             AS booked
            FROM public.recovery_cases
            WHERE membership_id = ANY (%(memberships)s)
            GROUP BY membership_id, company_id
            """,
            {"memberships": list(memberships)},
        )
        return {(state.membership_id, state.company_id): state for state in cursor}

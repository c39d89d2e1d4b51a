"""What the monitor asks the database: each question bounded and by itself, so that one that fails leaves the others."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from toolkit.adapters.capacity import capacity
from toolkit.adapters.postgres import Connection, Database
from toolkit.adapters.readings import activity, event_flow, migration_state, queue_state
from toolkit.adapters.sampled import Orphans, orphans, remaining
from toolkit.adapters.value_shares import value_shares
from toolkit.detect.seen import DatabaseReading, DataReading
from toolkit.errors import DatabaseError
from toolkit.playbook import Database as Names

QUESTION_WITHIN_MS = 1000

T = TypeVar("T")


def ask_database(database: Database, names: Names, span_s: float) -> DatabaseReading:
    """State table, events of the `span_s` seconds before the newest, sessions, queue, watched columns, room."""
    queue = names.queue_schema
    try:
        with database.reading(within_ms=QUESTION_WITHIN_MS) as conn:
            return DatabaseReading(
                migration=_asked(conn, lambda: migration_state(conn, names.state_table)),
                flow=_asked(conn, lambda: event_flow(conn, names.events_table, names.events_time, span_s)),
                activity=_asked(conn, lambda: activity(conn)),
                queue=_asked(conn, lambda: queue_state(conn, queue)) if queue else None,
                shares=_each(conn, names.watched_columns, value_shares),
                capacity=_asked(conn, lambda: capacity(conn)),
            )
    except DatabaseError as error:
        return DatabaseReading(error=error.what)


def ask_data(database: Database, names: Names) -> DataReading | None:
    """Samples of the references and the critical tables' rows; None when the database does not answer."""
    try:
        with database.reading(within_ms=QUESTION_WITHIN_MS) as conn:
            return DataReading(
                orphans=_each(conn, list(names.references), partial(_orphans, parents=names.references)),
                rows=_each(conn, names.critical_tables, remaining),
            )
    except DatabaseError:
        return None


def _orphans(conn: Connection, child: str, *, parents: Mapping[str, str]) -> Orphans:
    return orphans(conn, child, parents[child])


def _asked(conn: Connection, ask: Callable[[], T]) -> T | None:
    """The answer, or None where this question failed. A connection that broke is found by whoever holds it."""
    try:
        with conn.transaction():
            return ask()
    except Exception:
        if conn.broken:
            raise
        return None


def _each(conn: Connection, names: Sequence[str], ask: Callable[[Connection, str], T]) -> dict[str, T]:
    """Of those that can be asked: one that is gone must not blind us to the others."""
    asked = {name: _asked(conn, partial(ask, conn, name)) for name in names}
    return {name: answer for name, answer in asked.items() if answer is not None}

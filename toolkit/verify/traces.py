"""The rows that synthetic events leave behind, and their removal, which is verified.

A row is removed only when a name in it begins as no real one does. A removal that meets a lock is tried again; what
could not be removed is named, so that a person can. What a killed verification left is removed by the next one.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import exists, relation, split_name
from toolkit.adapters.systems import Systems
from toolkit.adapters.webhook import WebhookEvent
from toolkit.clock import wait_until
from toolkit.errors import DatabaseError, DeadlineExceeded

EVENT_PREFIX = "evt_verify_"
MEMBER_PREFIX = "mem_verify_"
TRY_AGAIN_WITHIN_S = 8.0
STATEMENT_WITHIN_MS = 3_000
ABANDONED_AFTER_S = 600


@dataclass(frozen=True)
class Removal:
    """How many rows were removed and how many are left; None: it is not known, and `error` says why."""

    removed: int
    left: int | None
    error: str | None = None

    @property
    def complete(self) -> bool:
        return self.left == 0

    @property
    def told(self) -> str:
        if self.left is None:
            return f"NOT REMOVED ({self.error}): delete what begins with {EVENT_PREFIX} and {MEMBER_PREFIX}"
        return f"{self.removed} rows removed, {self.left} left"


class Traces:
    """Of these events: rows of the events' table, of the playbook's traces, and of what references those."""

    def __init__(self, systems: Systems, events: Sequence[WebhookEvent]) -> None:
        self._database = systems.database
        self._names = systems.playbook.database
        self._tables = systems.playbook.verification.traces
        self._parameters = {
            "events": [event.id for event in events],
            "members": [event.membership_id for event in events],
            "event": EVENT_PREFIX,
            "member": MEMBER_PREFIX,
            "abandoned": ABANDONED_AFTER_S,
        }
        self._error = ""

    def remove(self) -> Removal:
        """Remove them and look whether they are gone. Never raises for what the database says."""
        try:
            removed = wait_until(self._try_to_remove, within=TRY_AGAIN_WITHIN_S, what="the removal", every=0.2)
            with contextlib.suppress(DatabaseError), self._database.writing(within_ms=STATEMENT_WITHIN_MS) as conn:
                self._remove(conn, abandoned=True)
            with self._database.reading() as conn:
                return Removal(removed[0] if removed else 0, self._left(conn))
        except DeadlineExceeded:
            return Removal(0, None, self._error)
        except DatabaseError as error:
            return Removal(0, None, error.what)

    def _try_to_remove(self) -> tuple[int] | None:
        try:
            with self._database.writing(within_ms=STATEMENT_WITHIN_MS) as conn:
                return (self._remove(conn, abandoned=False),)
        except DatabaseError as error:
            self._error = error.what
            return None

    def _remove(self, conn: Connection, *, abandoned: bool) -> int:
        """Children and jobs first, then the rows that they name, then the events. Returns how many rows."""
        removed = 0
        for table, mine in self._rows_of_members(abandoned):
            for child, parent_column in self._children(table):
                removed += self._remove_children(conn, child, parent_column, table, mine)
            for _, parent_column in self._children(table)[:1]:
                removed += self._remove_jobs(conn, parent_column, table, mine)
            removed += self._delete(conn, table, mine)
        return removed + self._delete(conn, self._names.events_table, self._events(abandoned))

    def _left(self, conn: Connection) -> int:
        wheres = [*self._rows_of_members(False), (self._names.events_table, self._events(False))]
        query = sql.SQL("SELECT count(*) FROM {} WHERE {}")
        rows = [
            conn.execute(query.format(relation(table), where), self._parameters).fetchone() for table, where in wheres
        ]
        return sum(int(row[0]) for row in rows if row)

    def _rows_of_members(self, abandoned: bool) -> Iterator[tuple[str, sql.Composable]]:
        for table, column in self._tables.items():
            yield table, _mine(column, "member", None if abandoned else "members")

    def _events(self, abandoned: bool) -> sql.Composable:
        if not abandoned:
            return _mine(self._names.events_key, "event", "events")
        old = sql.SQL("{} < now() - make_interval(secs => %(abandoned)s)").format(
            sql.Identifier(self._names.events_time)
        )
        return sql.SQL("{} AND {}").format(_mine(self._names.events_key, "event", None), old)

    def _children(self, table: str) -> list[tuple[str, str]]:
        """The columns that reference a table, each with the column that they reference."""
        references = ((child, *parent.rsplit(".", 1)) for child, parent in self._names.references.items())
        return [(child, column) for child, parent, column in references if split_name(parent) == split_name(table)]

    def _delete(self, conn: Connection, table: str, where: sql.Composable) -> int:
        query = sql.SQL("DELETE FROM {} WHERE {}").format(relation(table), where)
        return conn.execute(query, self._parameters).rowcount

    def _remove_children(
        self, conn: Connection, child: str, parent_column: str, table: str, mine: sql.Composable
    ) -> int:
        name, column = child.rsplit(".", 1)
        where = sql.SQL("{} IN (SELECT {} FROM {} WHERE {})").format(
            sql.Identifier(column), sql.Identifier(parent_column), relation(table), mine
        )
        return self._delete(conn, name, where)

    def _remove_jobs(self, conn: Connection, parent_column: str, table: str, mine: sql.Composable) -> int:
        """A scheduler that came by may have booked a job for such a row. Jobs name rows in their data."""
        queue = self._names.queue_schema
        if queue is None or not exists(conn, f"{queue}.job"):
            return 0
        where = sql.SQL(
            """
            created_on > now() - interval '1 hour'
            AND EXISTS (SELECT FROM {table} AS mine WHERE {mine} AND strpos(job.data::text, mine.{column}::text) > 0)
            """
        ).format(table=relation(table), mine=mine, column=sql.Identifier(parent_column))
        return self._delete(conn, f"{queue}.job", where)


def _mine(column: str, prefix: str, names: str | None) -> sql.Composable:
    """Rows whose name begins with the prefix: those of these events, or, without names, all of them.

    The range lets an index serve; `starts_with` alone decides.
    """
    begins = sql.SQL("starts_with({column}, {prefix}) AND {column} >= {prefix} AND {column} < {prefix} || 'g'").format(
        column=sql.Identifier(column), prefix=sql.Placeholder(prefix)
    )
    if names is None:
        return begins
    return sql.SQL("{} AND {} = ANY ({})").format(begins, sql.Identifier(column), sql.Placeholder(names))

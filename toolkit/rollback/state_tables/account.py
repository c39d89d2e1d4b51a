"""What it takes to write in a migration tool's account: the tool's own lock, and its rows as it would leave them.

Methods run in the caller's transaction, so that a migration and its record hold together or not at all.
"""

from abc import abstractmethod
from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables import Reader
from toolkit.adapters.state_tables.locks import holders
from toolkit.errors import RollbackError
from toolkit.rollback.migrations import Migration


class Account(Reader):
    """How one tool keeps its account of migrations, to be written."""

    tool: str

    def lock(self, conn: Connection, schema: str, table: str) -> None:
        """Until the transaction ends neither the tool nor anybody else changes it.

        RollbackError, which names the holder, when the tool holds its advisory lock now; DatabaseError when the table's
        lock is not had in time.
        """
        for key in self.lock_keys(str(conn.info.dbname), schema, table):
            row = conn.execute("SELECT pg_try_advisory_xact_lock(%(key)s)", {"key": key}).fetchone()
            if row != (True,):
                held = "; ".join(str(each) for each in holders(conn, [key], schema, table)) or "nobody could be seen"
                raise RollbackError(
                    f"{self.tool} is at work here: its lock is held by {held}",
                    state="nothing was changed in this transaction",
                    next="let it end, or end that session when it is dead; then run the plan again",
                )
        conn.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.Identifier(schema, table)))

    @abstractmethod
    def record_down(
        self,
        conn: Connection,
        schema: str,
        table: str,
        to_version: int | None,
        migrations: Sequence[Migration] = (),
    ) -> None:
        """Say, as the tool itself would, that these migrations (the newest first) were taken back.

        The schema is then at `to_version` (None: before the first). Raises RollbackError where a migration is not
        recorded as applied.
        """

    @abstractmethod
    def record_up(self, conn: Connection, schema: str, table: str, migration: Migration) -> None:
        """Say, as the tool itself would, that this migration was applied. Raises RollbackError where it already is."""


def require_one(changed: int, migration: Migration, schema: str, table: str) -> None:
    """RollbackError unless exactly one row was changed for a migration."""
    if changed != 1:
        raise RollbackError(
            f"{schema}.{table} holds {changed or 'no'} rows for {migration.label} where one was expected",
            state="nothing was changed: the transaction is taken back",
            next="find out who changed the state table, then plan again",
        )


def require_named(migrations: Sequence[Migration], tool: str) -> Sequence[Migration]:
    """The migrations, where a tool keeps a row for each: RollbackError without any."""
    if not migrations:
        raise RollbackError(
            f"{tool} keeps a row for each migration, and none was named to take back",
            state="nothing was changed",
            next="plan again",
        )
    return migrations

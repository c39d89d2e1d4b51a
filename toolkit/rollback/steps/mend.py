"""Undoing what a half-applied migration left, by the statements that its diagnosis found and tried on a scratch server.

The state table says that version, dirty, before, and the version below it, clean, afterwards.
"""

from toolkit.adapters.postgres import Connection
from toolkit.rollback.migrations import Migration, Script
from toolkit.rollback.plan import Mend
from toolkit.rollback.state_tables import Account, Found, MigrationState
from toolkit.rollback.steps.one_migration import MovingOneMigration


class Mending(MovingOneMigration):
    """`Mend`, carried out."""

    action: Mend
    direction, salvages, mends = "mend", True, True

    @property
    def ends_at(self) -> int | None:
        return self.action.to_version

    @property
    def wanted(self) -> str:
        return f"mending wants version {self.action.version}, dirty"

    def is_done(self, state: MigrationState) -> bool:
        return state.version == self.action.to_version

    def may_begin(self, state: MigrationState) -> bool:
        return state.version == self.action.version

    def may_come(self, state: MigrationState) -> bool:
        return state.version == self.action.version

    def script_of(self, migration: Migration) -> Script:
        return Script(self.action.file, self.action.text.encode())

    def record(self, account: Account, conn: Connection, found: Found, migration: Migration) -> None:
        account.record_down(conn, found.schema, found.table, self.action.to_version, [migration])

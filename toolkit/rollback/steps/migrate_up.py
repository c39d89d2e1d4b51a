"""Applying one migration again, with the same care as taking it back: its script and the state table together.

After a restore from before the damage the schema may be older than what the service wants. An up is the team's own and
wanted; nothing is salvaged before it.
"""

from toolkit.adapters.postgres import Connection
from toolkit.rollback.migrations import Migration, Script
from toolkit.rollback.plan import MigrateUp
from toolkit.rollback.state_tables import Account, Found, MigrationState
from toolkit.rollback.steps.one_migration import MovingOneMigration


class MigratingUp(MovingOneMigration):
    """`MigrateUp`, carried out."""

    action: MigrateUp
    direction, salvages = "up", False

    @property
    def ends_at(self) -> int | None:
        return self.action.version

    @property
    def wanted(self) -> str:
        return f"going up wants the version before {self.action.version}, clean"

    def is_done(self, state: MigrationState) -> bool:
        return self.action.version in state.applied

    def may_begin(self, state: MigrationState) -> bool:
        below = self._folder().before(self.action.version)
        return self.action.version not in state.applied and (below is None or below in state.applied)

    def may_come(self, state: MigrationState) -> bool:
        """Steps before it may restore another version, so any will do until its turn has come."""
        return not state.drift

    def script_of(self, migration: Migration) -> Script | None:
        return migration.up

    def record(self, account: Account, conn: Connection, found: Found, migration: Migration) -> None:
        account.record_up(conn, found.schema, found.table, migration)

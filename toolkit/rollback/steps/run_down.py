"""Going down one migration: its script and the state table's update in one transaction, so that both hold or neither.

What the down destroys is salvaged in the same transaction. A script that cannot be one transaction is run in parts.
"""

from toolkit.adapters.postgres import Connection
from toolkit.rollback.migrations import Migration, Script
from toolkit.rollback.plan import RunDown
from toolkit.rollback.state_tables import Account, Found, MigrationState
from toolkit.rollback.steps.one_migration import MovingOneMigration


class RunningDown(MovingOneMigration):
    """`RunDown`, carried out."""

    action: RunDown
    direction, salvages = "down", True

    @property
    def ends_at(self) -> int | None:
        return self.action.to_version

    @property
    def wanted(self) -> str:
        return f"going down wants version {self.action.version}, clean"

    def is_done(self, state: MigrationState) -> bool:
        """This step and those of the plan after it."""
        downs = self.around.plan.downs
        return state.version in [down.to_version for down in downs[downs.index(self.action) :]]

    def may_begin(self, state: MigrationState) -> bool:
        return state.version == self.action.version

    def may_come(self, state: MigrationState) -> bool:
        return state.version in [down.version for down in self.around.plan.downs]

    def script_of(self, migration: Migration) -> Script | None:
        return migration.down

    def record(self, account: Account, conn: Connection, found: Found, migration: Migration) -> None:
        account.record_down(conn, found.schema, found.table, self.action.to_version, [migration])

"""golang-migrate's account: one row, the version. It is written while holding golang-migrate's own advisory lock."""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables import linear
from toolkit.rollback.migrations import Migration
from toolkit.rollback.state_tables.account import Account


class GolangMigrate(linear.GolangMigrate, Account):
    """One row: the version, and whether it is dirty. No row: nothing is applied (database/postgres, SetVersion)."""

    tool = "golang-migrate"

    def record_down(
        self,
        conn: Connection,
        schema: str,
        table: str,
        to_version: int | None,
        migrations: Sequence[Migration] = (),
    ) -> None:
        conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(schema, table)))
        if to_version is not None:
            insert = sql.SQL("INSERT INTO {} (version, dirty) VALUES (%(version)s, false)")
            conn.execute(insert.format(sql.Identifier(schema, table)), {"version": to_version})

    def record_up(self, conn: Connection, schema: str, table: str, migration: Migration) -> None:
        self.record_down(conn, schema, table, migration.version)

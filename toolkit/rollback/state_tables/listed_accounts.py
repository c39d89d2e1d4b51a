"""The accounts of tools that keep a row for each migration: dbmate, diesel, node-pg-migrate, goose, Flyway.

The rows are those that the tools' own sources write. Flyway never removes one: undoing adds a row.
"""

import zlib
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables import failing, listing
from toolkit.rollback.migrations import Migration, Script
from toolkit.rollback.state_tables.account import Account, require_named, require_one


class RowForEach(Account):
    """`delete` and `insert` are the tool's statements, about the table {} and the migration's `label`."""

    delete: sql.SQL
    insert: sql.SQL

    def record_down(
        self,
        conn: Connection,
        schema: str,
        table: str,
        to_version: int | None,
        migrations: Sequence[Migration] = (),
    ) -> None:
        delete = self.delete.format(sql.Identifier(schema, table))
        for migration in require_named(migrations, self.tool):
            done = conn.execute(delete, self.values(migration))
            require_one(done.rowcount, migration, schema, table)

    def record_up(self, conn: Connection, schema: str, table: str, migration: Migration) -> None:
        done = conn.execute(self.insert.format(sql.Identifier(schema, table)), self.values(migration))
        require_one(done.rowcount, migration, schema, table)

    def values(self, migration: Migration) -> Mapping[str, object]:
        return {"label": migration.label}


class Dbmate(listing.Dbmate, RowForEach):
    tool = "dbmate"
    delete = sql.SQL("DELETE FROM {} WHERE version = %(label)s")
    insert = sql.SQL("INSERT INTO {} (version) VALUES (%(label)s)")


class Diesel(listing.Diesel, RowForEach):
    tool = "diesel"
    delete = sql.SQL("DELETE FROM {} WHERE version = %(label)s")
    insert = sql.SQL("INSERT INTO {} (version) VALUES (%(label)s)")


class NodePgMigrate(listing.NodePgMigrate, RowForEach):
    tool = "node-pg-migrate"
    delete = sql.SQL("DELETE FROM {} WHERE name = %(label)s")
    insert = sql.SQL("INSERT INTO {} (name, run_on) VALUES (%(label)s, now())")


class Goose(listing.Goose, RowForEach):
    """goose removes every row of a version that it takes back; old ones may have several."""

    tool = "goose"
    delete = sql.SQL(
        "WITH gone AS (DELETE FROM {} WHERE version_id = %(number)s RETURNING id) SELECT 1 FROM gone LIMIT 1"
    )
    insert = sql.SQL("INSERT INTO {} (version_id, is_applied) VALUES (%(number)s, true)")

    def record_down(
        self,
        conn: Connection,
        schema: str,
        table: str,
        to_version: int | None,
        migrations: Sequence[Migration] = (),
    ) -> None:
        """Rows of a version that was taken back in goose's old way are no proof that it is applied."""
        applied = self.read(conn, schema, table).applied
        for migration in migrations:
            require_one(int(migration.label in applied), migration, schema, table)
        super().record_down(conn, schema, table, to_version, migrations)

    def values(self, migration: Migration) -> Mapping[str, object]:
        return {"number": int(migration.label)}


class Flyway(failing.Flyway, Account):
    """Adds a row: kind `UNDO_SQL` for an undo, `SQL` for a migration. `execution_time` is not known here, and 0."""

    tool = "Flyway"

    def record_down(
        self,
        conn: Connection,
        schema: str,
        table: str,
        to_version: int | None,
        migrations: Sequence[Migration] = (),
    ) -> None:
        applied = {failing.version_parts(label) for label in self.read(conn, schema, table).applied}
        for migration in require_named(migrations, self.tool):
            require_one(int(failing.version_parts(migration.label) in applied), migration, schema, table)
            assert migration.down is not None
            self._add(conn, schema, table, migration, "UNDO_SQL", migration.down)

    def record_up(self, conn: Connection, schema: str, table: str, migration: Migration) -> None:
        applied = {failing.version_parts(label) for label in self.read(conn, schema, table).applied}
        require_one(int(failing.version_parts(migration.label) not in applied), migration, schema, table)
        assert migration.up is not None
        self._add(conn, schema, table, migration, "SQL", migration.up)

    def _add(self, conn: Connection, schema: str, table: str, migration: Migration, kind: str, script: Script) -> None:
        insert = sql.SQL(
            """
            INSERT INTO {table} (installed_rank, version, description, type, script, checksum, installed_by,
                                 execution_time, success)
            SELECT coalesce(max(installed_rank), 0) + 1, %(version)s, %(description)s, %(kind)s, %(script)s,
                   %(checksum)s, session_user, 0, true
            FROM {table}
            """
        ).format(table=sql.Identifier(schema, table))
        conn.execute(
            insert,
            {
                "version": migration.label,
                "description": migration.name,
                "kind": kind,
                "script": script.file,
                "checksum": flyway_checksum(script.content),
            },
        )


def flyway_checksum(content: bytes) -> int:
    """The CRC-32 of a script's lines without their ends or a byte order mark, as a signed int (ChecksumCalculator)."""
    crc = 0
    for line in content.removeprefix(BOM_UTF8).splitlines():
        crc = zlib.crc32(line, crc)
    return crc - 2**32 if crc >= 2**31 else crc

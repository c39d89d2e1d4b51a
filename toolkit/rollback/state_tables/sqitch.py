"""sqitch's account: taking a change back as `sqitch revert` does, with its tags, its dependencies and an event.

Deploying is not written: a change's id is a hash of the whole plan before it, which sqitch alone should compute.
"""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables import failing
from toolkit.errors import RollbackError
from toolkit.rollback.migrations import Migration
from toolkit.rollback.state_tables.account import Account, require_named, require_one

_WHO, _ADDRESS = "toolkit", "toolkit@localhost"


class Sqitch(failing.Sqitch, Account):
    """Rows as App::Sqitch::Role::DBIEngine's log_revert_change leaves them."""

    tool = "sqitch"

    def record_down(
        self,
        conn: Connection,
        schema: str,
        table: str,
        to_version: int | None,
        migrations: Sequence[Migration] = (),
    ) -> None:
        for migration in require_named(migrations, self.tool):
            self._revert(conn, schema, migration)

    def record_up(self, conn: Connection, schema: str, table: str, migration: Migration) -> None:
        raise RollbackError(
            f"{migration.label} cannot be recorded as deployed: its id is a hash that sqitch alone computes",
            state="nothing was changed",
            next="deploy it with sqitch itself",
        )

    def _revert(self, conn: Connection, schema: str, migration: Migration) -> None:
        """The latest deployed change of that name, which nothing may require any more."""
        names = {name: sql.Identifier(schema, name) for name in ("changes", "tags", "dependencies", "events")}
        row = conn.execute(
            sql.SQL(
                """
                SELECT change_id
                FROM {changes}
                WHERE change = %(name)s
                  AND change_id = (SELECT change_id FROM {changes} ORDER BY committed_at DESC LIMIT 1)
                """
            ).format(**names),
            {"name": migration.name},
        ).fetchone()
        require_one(int(row is not None), migration, schema, "changes")
        assert row is not None
        values = {"change_id": row[0], "who": _WHO, "address": _ADDRESS}
        conn.execute(sql.SQL(_EVENT).format(**names), values)
        for statement in _REMOVALS:
            conn.execute(sql.SQL(statement).format(**names), values)


_EVENT = """
    INSERT INTO {events} (event, change_id, change, project, note, requires, conflicts, tags,
                          committer_name, committer_email, planned_at, planner_name, planner_email)
    SELECT 'revert', change_id, change, project, note,
           ARRAY(SELECT dependency FROM {dependencies} AS needed
                 WHERE needed.change_id = changed.change_id AND type = 'require'),
           ARRAY(SELECT dependency FROM {dependencies} AS needed
                 WHERE needed.change_id = changed.change_id AND type = 'conflict'),
           ARRAY(SELECT tag FROM {tags} AS tagged WHERE tagged.change_id = changed.change_id),
           %(who)s, %(address)s, planned_at, planner_name, planner_email
    FROM {changes} AS changed
    WHERE change_id = %(change_id)s
"""
_REMOVALS = (
    "DELETE FROM {tags} WHERE change_id = %(change_id)s",
    "DELETE FROM {dependencies} WHERE change_id = %(change_id)s",
    "DELETE FROM {changes} WHERE change_id = %(change_id)s",
)

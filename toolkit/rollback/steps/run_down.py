"""Going down one migration: its file and the state table's update in one transaction, so that both hold or neither.

golang-migrate marks a version dirty before it runs and clean after it, in transactions of their own; a run that dies in
between leaves a puzzle. Here the state table is never dirty: a reader sees the version before or the version after.
"""

import time
from typing import NoReturn

from toolkit.adapters.postgres import Connection, sql
from toolkit.errors import DatabaseError, RollbackError, ToolkitError
from toolkit.rollback.blocking import Blocker, BlockerWatch, sqlstate_of
from toolkit.rollback.migrations import Script, read_script
from toolkit.rollback.plan import RunDown
from toolkit.rollback.state_tables import Found, Recorded, account_of, choose, find_state_tables, read_recorded
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings

LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION, IN_TRANSACTION = "55P03", "40P01", "40001", "25001"
AGAIN = (LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION)


class RunningDown(Doing):
    """`RunDown`, carried out."""

    def __init__(self, action: RunDown, around: Surroundings) -> None:
        super().__init__(around)
        self.action = action
        self._database, self._named = around.systems.database, around.systems.playbook.database.state_table

    def require(self) -> None:
        self._database.require_direct()
        assert self.around.plan.server is not None
        self._database.require(self.around.plan.server)
        self._script()

    def look(self) -> Standing:
        self.require()
        _, recorded = read_recorded(self._database, self._named)
        downs = self.around.plan.downs
        beyond = [down.to_version for down in downs[downs.index(self.action) :]]
        said = f"the state table says {recorded}"
        if recorded.dirty or recorded.version not in [*beyond, *(down.version for down in downs)]:
            raise self._refused(recorded)
        return Standing(recorded.version in beyond, said)

    def act(self) -> str:
        script, tries = self._script(), 0
        deadline = time.monotonic() + self.around.patience.give_up_after_s
        for pause in self.around.patience.pauses():
            tries += 1
            blockers: list[Blocker] = []
            try:
                self._run(script, blockers)
                break
            except DatabaseError as error:
                self._explain(error, script, blockers, tries, deadline - time.monotonic())
            self._tell_blocked(tries, blockers, pause)
            time.sleep(pause)
        again = "" if tries == 1 else f", at try {tries}"
        said = Recorded(self.action.to_version, False)
        return f"{script.file} ran and the state table says {said}, in one transaction{again}"

    def state(self) -> str:
        try:
            _, recorded = read_recorded(self._database, self._named)
        except ToolkitError as error:
            return f"the version is unknown: {error.what}"
        return f"the state table says {recorded}; a down either ran whole or left nothing"

    def _run(self, script: Script, blockers: list[Blocker]) -> None:
        """One try, in one transaction. Whoever was in the way is put into `blockers`."""
        with self._database.writing(lock_within_ms=self.around.patience.lock_within_ms) as conn:
            watch = BlockerWatch(self._database, conn.info.backend_pid)
            try:
                with watch:
                    self._run_in(conn, script)
            finally:
                blockers += watch.seen

    def _run_in(self, conn: Connection, script: Script) -> None:
        found = choose(find_state_tables(conn), self._named, target=self._database.target)
        account = account_of(found, target=self._database.target)
        account.lock(conn, found.schema, found.table)
        recorded = account.read(conn, found.schema, found.table)
        if recorded != Recorded(self.action.version, False):
            raise self._refused(recorded)
        _become_owner(conn, found)
        transaction = _transaction(conn)
        conn.execute(script.content)
        if _transaction(conn) != transaction:
            raise RollbackError(
                f"{script.file} ended the transaction that it ran in",
                target=self._database.target,
                state=f"what it did before that is in force, and the state table still says {recorded}",
                next=f"see what {script.file} did; finish it by hand; correct the state table; then plan again",
            )
        account.record_down(conn, found.schema, found.table, self.action.to_version)

    def _script(self) -> Script:
        script = read_script(self.around.systems.target.migrations / self.action.file)
        if script.sha256 != self.action.sha256:
            raise RollbackError(
                f"{script.file} is not the file that the plan was made from",
                target=self._database.target,
                state="it was not run",
                next="look at what changed in it, then plan again",
            )
        return script

    def _explain(
        self, error: DatabaseError, script: Script, blockers: list[Blocker], tries: int, left_s: float
    ) -> None:
        """Returns where it is worth another try. Otherwise raises what a person can go on from."""
        code = sqlstate_of(error)
        if code in AGAIN and left_s > 0:
            return
        if code in AGAIN:
            self._give_up(script, blockers, tries)
        if code == IN_TRANSACTION:
            raise RollbackError(
                f"{script.file} holds a statement that cannot run in a transaction: {error.what}",
                target=self._database.target,
                state=self.state(),
                next="restore from a backup; or run that file by hand, see what it left, and correct the state table",
            ) from error
        raise error

    def _give_up(self, script: Script, blockers: list[Blocker], tries: int) -> NoReturn:
        named = "; ".join(map(str, blockers)) or "nobody could be seen"
        raise RollbackError(
            f"{script.file} did not get its locks in {self.around.patience.give_up_after_s:g} s and {tries} tries. "
            f"In the way: {named}",
            target=self._database.target,
            state=self.state(),
            next=f"let it end, or end it: SELECT pg_terminate_backend({blockers[0].pid}); then run the plan again"
            if blockers
            else "run the plan again",
        )

    def _tell_blocked(self, tries: int, blockers: list[Blocker], pause: float) -> None:
        told = {"attempt": tries, "blockers": [each.to_json() for each in blockers], "again_in_s": pause}
        self.around.tell("step.blocked", told)

    def _refused(self, recorded: Recorded) -> RollbackError:
        return RollbackError(
            f"The state table says {recorded}, where going down wants version {self.action.version}, clean",
            target=self._database.target,
            state="this step was not begun",
            next="find out who changed it, then plan again",
        )


def _become_owner(conn: Connection, found: Found) -> None:
    """Act as whoever owns the state table, if we may: what a down creates should be the migration tool's, not ours."""
    row = conn.execute(
        """
        SELECT rolname
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_roles ON pg_roles.oid = relowner
        WHERE nspname = %(schema)s AND relname = %(table)s
          AND rolname <> current_user AND pg_has_role(relowner, 'MEMBER')
        """,
        {"schema": found.schema, "table": found.table},
    ).fetchone()
    if row is not None:
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(row[0])))


def _transaction(conn: Connection) -> object:
    """The number of the transaction that this connection is in."""
    return conn.execute("SELECT txid_current()").fetchone()

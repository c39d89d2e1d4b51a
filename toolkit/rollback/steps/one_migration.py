"""One migration, down or up: what both ways share. The version is asked from the state table, never from the journal.

golang-migrate marks a version dirty before it runs and clean after it, in transactions of their own; a run that dies in
between leaves a puzzle. Here the state table is never dirty: a reader sees the version before or the version after, and
where a script cannot be one transaction, a row of the toolkit's own tells how far it has come.
"""

import time
from abc import abstractmethod
from typing import NoReturn

from toolkit.adapters.postgres import Connection
from toolkit.errors import DatabaseError, RollbackError, ToolkitError
from toolkit.rollback.blocking import sqlstate_of
from toolkit.rollback.down_progress import Key, how_far
from toolkit.rollback.down_progress import prepare as prepare_progress
from toolkit.rollback.freeze import tighten
from toolkit.rollback.migrations import Migration, MigrationFolder, Script, read_folder
from toolkit.rollback.plan import Mend, MigrateUp, RunDown
from toolkit.rollback.salvage import prepare as prepare_salvage
from toolkit.rollback.state_tables import (
    Account,
    Found,
    MigrationState,
    Recorded,
    account_of,
    against,
    choose,
    find_state_tables,
    owner_of,
    read_state,
    read_table,
)
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings
from toolkit.rollback.steps.script_parts import Work
from toolkit.rollback.steps.script_runs import ScriptRun

LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION = "55P03", "40P01", "40001"
AGAIN = (LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION)
ENDING_TRIES = 3


class MovingOneMigration(Doing):
    """`RunDown` or `MigrateUp`, carried out. `ends_at` is the version that the state table says afterwards."""

    direction: str
    salvages: bool
    mends = False  # it starts from a state table that says 'dirty'
    action: RunDown | MigrateUp | Mend

    def __init__(self, action: RunDown | MigrateUp | Mend, around: Surroundings) -> None:
        super().__init__(around)
        self.action = action
        self._database, self._named = around.systems.database, around.systems.playbook.database.state_table

    @property
    @abstractmethod
    def ends_at(self) -> int | None: ...

    @abstractmethod
    def is_done(self, state: MigrationState) -> bool: ...

    @abstractmethod
    def may_begin(self, state: MigrationState) -> bool:
        """Whether the state table says what this step starts from."""

    @abstractmethod
    def may_come(self, state: MigrationState) -> bool:
        """Whether the steps of the plan before this one lead from what the state table says to where it starts."""

    @abstractmethod
    def script_of(self, migration: Migration) -> Script | None: ...

    @abstractmethod
    def record(self, account: Account, conn: Connection, found: Found, migration: Migration) -> None: ...

    def require(self) -> None:
        self._database.require_session()
        assert self.around.plan.server is not None
        self._database.require(self.around.plan.server)
        _ = Work(self._script(), self._database.target).pieces

    def look(self) -> Standing:
        self.require()
        state = read_state(self._database, self._folder(), self._named)
        done = not state.dirty and self.is_done(state)
        if not done and (state.dirty != self.mends or not self.may_come(state)):
            raise self._refused(state)
        return Standing(done, f"the state table says {state.said}{'' if done else self._said_progress()}")

    def act(self) -> str:
        run = self._run()
        with self._database.writing() as conn:
            prepare_salvage(conn)
            prepare_progress(conn)
        tries, ending = 0, 0
        deadline = time.monotonic() + self.around.patience.give_up_after_s
        for pause in self.around.patience.pauses():
            tries += 1
            try:
                self._try(run)
                break
            except DatabaseError as error:
                spent = deadline <= time.monotonic()
                run.ending = spent and self.around.end_blockers and ending < ENDING_TRIES
                ending += run.ending
                self._explain(error, run, tries, spent and not run.ending)
            self._tell_blocked(run, tries, pause)
            time.sleep(0 if run.ending else pause)
        return self._said_done(run, tries)

    def state(self) -> str:
        try:
            said = f"the state table says {read_state(self._database, self._folder(), self._named).said}"
            progress = self._said_progress()
        except ToolkitError as error:
            return f"the version is unknown: {error.what}"
        return said + (progress or f"; {self.action.file} either ran whole or left nothing")

    def partly(self) -> bool:
        """A script that runs in parts may have come some of the way: then its schema is that of neither version."""
        return bool(self._said_progress())

    # running --------------------------------------------------------------------------------------------------------

    def _run(self) -> ScriptRun:
        folder = self._folder()
        migration = folder.migrations[self.action.version]
        work = Work(self._script(), self._database.target)

        def begin(conn: Connection) -> str:
            found, account, state = self._account(conn, folder)
            account.lock(conn, found.schema, found.table)
            found, account, state = self._account(conn, folder)
            if state.dirty != self.mends or not self.may_begin(state):
                raise self._refused(state)
            return owner_of(conn, found)

        def record(conn: Connection) -> None:
            found, account, _ = self._account(conn, folder)
            self.record(account, conn, found, migration)
            tighten(conn)  # what the file granted while writes are frozen is frozen too

        key = Key(self.direction, self.action.version, self.action.sha256)
        return ScriptRun(work, self.around, key, begin, record, self.salvages)

    def _try(self, run: ScriptRun) -> None:
        """Once, and again at once as long as the server teaches what must run alone."""
        while True:
            try:
                return run.once()
            except DatabaseError as error:
                if not run.learn(error):
                    raise
                self.around.tell("step.in_parts", {"alone": run.said_alone(), "because": error.what})

    def _account(self, conn: Connection, folder: MigrationFolder) -> tuple[Found, Account, MigrationState]:
        found = choose(find_state_tables(conn, self._named), self._named, target=self._database.target)
        account = account_of(found, target=self._database.target)
        state = against(found, read_table(conn, found, target=self._database.target), folder)
        return found, account, state

    def _folder(self) -> MigrationFolder:
        return read_folder(self.around.systems.target.migrations)

    def _script(self) -> Script:
        migration = self._folder().migrations.get(self.action.version)
        script = self.script_of(migration) if migration else None
        if script is None or script.sha256 != self.action.sha256:
            raise RollbackError(
                f"{self.action.file} is not the file that the plan was made from",
                target=self._database.target,
                state="it was not run",
                next="look at what changed in it, then plan again",
            )
        return script

    # telling --------------------------------------------------------------------------------------------------------

    def _said_done(self, run: ScriptRun, tries: int) -> str:
        again = "" if tries == 1 else f", at try {tries}"
        how = f", in parts: {', '.join(run.said_alone())} alone" if run.in_parts else ", in one transaction"
        kept = "; ".join(map(str, run.salvaged))
        said = Recorded(self.ends_at, False)
        salvaged = f". Salvaged: {kept}" if kept else ""
        return f"{self.action.file} ran and the state table says {said}{how}{again}{salvaged}"

    def _said_progress(self) -> str:
        key = Key(self.direction, self.action.version, self.action.sha256)
        with self._database.reading() as conn:
            come = how_far(conn, key)
        if come is None:
            return ""
        count = len(self._script().statements)
        trying = ", which runs alone and was begun" if come.trying else ""
        return f", but {self.action.file} was begun: statement {come.following + 1} of {count} comes next{trying}"

    def _explain(self, error: DatabaseError, run: ScriptRun, tries: int, spent: bool) -> None:
        """Returns where it is worth another try. Otherwise raises what a person can go on from."""
        code = sqlstate_of(error)
        if code in AGAIN and not spent:
            return
        if code in AGAIN:
            self._give_up(run, tries)
        where = f" ({run.at.said} of {self.action.file})" if run.at is not None else ""
        raise DatabaseError(f"{error.what}{where}", target=error.target, sqlstate=code) from error

    def _give_up(self, run: ScriptRun, tries: int) -> NoReturn:
        named = "; ".join(map(str, run.blockers)) or "nobody could be seen"
        raise RollbackError(
            f"{self.action.file} did not get its locks in {self.around.patience.give_up_after_s:g} s and {tries} tries."
            f" In the way: {named}",
            target=self._database.target,
            state=self.state(),
            next=f"let it end, or end it: SELECT pg_terminate_backend({run.blockers[0].pid}); then run the plan again"
            if run.blockers
            else "run the plan again",
        )

    def _tell_blocked(self, run: ScriptRun, tries: int, pause: float) -> None:
        told = {"attempt": tries, "blockers": [each.to_json() for each in run.blockers], "again_in_s": pause}
        self.around.tell("step.blocked", told)

    def _refused(self, state: MigrationState) -> RollbackError:
        return RollbackError(
            f"The state table says {state.said}, where {self.wanted}",
            target=self._database.target,
            state="this step was not begun",
            next="find out who changed it, then plan again",
        )

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What the state table should say before, as half a sentence."""

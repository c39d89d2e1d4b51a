"""Running a migration's script against its target: in one transaction with the state table, or in parts where it must.

    together   fence ─ account ─ [ copy what a statement destroys ─ run it ]… ─ nothing lost uncopied? ─ state table
    in parts   the same for each group of ordinary statements; what runs in no transaction runs singly between them

Which statements run in no transaction the text tells, or the server (SQLSTATE 25001, or 55P04 for a new enum label that
is used at once): the transaction is then gone whole, and the script is run again in parts. How far it has come stands
on the target, so after kill -9 anywhere the same call goes on; a single statement's outcome is asked from the catalog.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from toolkit.adapters.postgres import Connection, pid_of, sql
from toolkit.errors import DatabaseError, RollbackError
from toolkit.rollback.blocking import Blocker, BlockerWatch, hold_nothing_for_the_dead, sqlstate_of
from toolkit.rollback.down_progress import Come, Key, come_to, finished, how_far
from toolkit.rollback.locks_taken import locks_told
from toolkit.rollback.outcomes import Outcome, Standing, outcome_of
from toolkit.rollback.salvage import Keeper, Missed, Salvaged, as_role
from toolkit.rollback.steps.doing import Surroundings
from toolkit.rollback.steps.script_parts import Part, Piece, Work

IN_TRANSACTION, UNSAFE_LABEL = "25001", "55P04"
BEFORE = sql.SQL("SAVEPOINT toolkit_before_script")
BACK = sql.SQL("ROLLBACK TO SAVEPOINT toolkit_before_script")
ENDING_LOCK_WITHIN_MS = 3_000


@dataclass
class ScriptRun:
    """One script against one target. `begin` locks the account, refuses another version than the expected one, and
    gives the role that owns it; `record` writes the new version."""

    work: Work
    around: Surroundings
    key: Key
    begin: Callable[[Connection], str]
    record: Callable[[Connection], None]
    salvages: bool
    alone: set[int] = field(default_factory=set)
    at: Piece | None = None
    blockers: list[Blocker] = field(default_factory=list)
    ending: bool = False
    salvaged: list[Salvaged] = field(default_factory=list)
    in_parts: bool = False

    def __post_init__(self) -> None:
        self.alone |= self.work.alone

    def once(self) -> None:
        """One try. Raises DatabaseError, and RollbackError for what no other try would change."""
        self.blockers, self.at = [], None
        come = self._come()
        self.in_parts = come is not None or bool(self.alone)
        if self.in_parts:
            self._run_in_parts(come or Come())
        else:
            self._run_together()

    def learn(self, error: DatabaseError) -> bool:
        """Whether the server has said of a statement that it must run alone, which was not known before."""
        code = sqlstate_of(error)
        new: set[int] = set()
        if code == IN_TRANSACTION and self.at is not None:
            new = {self.at.number} - self.alone
        elif code == UNSAFE_LABEL:
            new = set(self.work.added_labels) - self.alone
        self.alone |= new
        return bool(new)

    def said_alone(self) -> list[str]:
        return [piece.said for piece in self.work.pieces if piece.number in self.alone]

    # in one transaction ---------------------------------------------------------------------------------------------

    def _run_together(self) -> None:
        with self._writing() as conn:
            owner = self.begin(conn)
            began = time.monotonic()
            self.salvaged = self._pieces(conn, self.work.pieces, owner)
            with as_role(conn, owner):
                self.record(conn)
            finished(conn, self.key)
            self._tell_locks(conn, began)

    def _pieces(self, conn: Connection, pieces: Sequence[Piece], owner: str) -> list[Salvaged]:
        """Run them, what they destroy copied first; leave the session's settings as they were."""
        transaction = _transaction(conn)
        conn.execute("SELECT set_config('role', %(owner)s, true)", {"owner": owner})
        for piece in self.work.settings(pieces[0].number):
            self._run(conn, piece)
        salvaged = self._salvaging(conn, pieces, owner) if self.salvages else self._statements(conn, pieces, None)
        conn.execute("RESET ALL")
        conn.execute("SELECT set_config('role', 'none', true)")
        self._keep_patience(conn)
        if _transaction(conn) != transaction:
            raise RollbackError(
                f"{self.work.script.file} ended the transaction that it ran in",
                target=self.work.target,
                state="what it did before that is in force, and the state table still says the version before",
                next="see what it did; finish it by hand; correct the state table; then plan again",
            )
        if salvaged:
            told = [{"what": str(each), "rows": each.rows, "note": each.note} for each in salvaged]
            self.around.tell("step.salvaged", {"salvaged": told})
        return salvaged

    def _salvaging(self, conn: Connection, pieces: Sequence[Piece], owner: str) -> list[Salvaged]:
        """Once by what the text tells; a second time, from the start, when that has missed something."""
        conn.execute(BEFORE)
        keeper = self._keeper(conn, owner)
        self._foresee(keeper, pieces)
        self._statements(conn, pieces, keeper)
        missed = keeper.missed()
        if missed:
            self.around.tell("step.hidden_losses", {"losses": [each.what for each in missed]})
            conn.execute(BACK)
            keeper = self._keeper(conn, owner)
            self._foresee(keeper, pieces)
            for each in missed:
                keeper.keep(each.spec)
            self._statements(conn, pieces, keeper)
            self._require_nothing_missed(keeper.missed())
        return keeper.finish()

    def _keeper(self, conn: Connection, owner: str) -> Keeper:
        return Keeper(conn, self.around.incident.id, self.key.version, owner)

    def _foresee(self, keeper: Keeper, pieces: Sequence[Piece]) -> None:
        keeper.foresee([piece.statement for piece in pieces], self.work.text)

    def _require_nothing_missed(self, missed: Sequence[Missed]) -> None:
        if missed:
            raise RollbackError(
                f"{self.work.script.file} destroys what could not be salvaged: "
                + "; ".join(each.what for each in missed),
                target=self.work.target,
                state="nothing of it was done",
                next="restore from a backup instead (Type 3), or write a down whose losses can be seen",
            )

    def _statements(self, conn: Connection, pieces: Sequence[Piece], keeper: Keeper | None) -> list[Salvaged]:
        for count, piece in enumerate(pieces):
            self.at = piece
            self.around.advance(f"run {self.work.script.file}", count, len(pieces))
            if keeper is not None:
                keeper.keep_before(piece.statement, self.work.text)
            rows = self._run(conn, piece)
            if keeper is not None:
                keeper.ran(piece.statement, rows)
        self.at = None
        return []

    def _run(self, conn: Connection, piece: Piece) -> int:
        done = conn.execute(piece.text.encode())
        if piece.sets_patience:
            self._keep_patience(conn)
        return done.rowcount

    def _keep_patience(self, conn: Connection) -> None:
        """How long a lock is waited for is not the script's to say: the queue behind us is production's."""
        conn.execute("SELECT set_config('lock_timeout', %(ms)s, true)", {"ms": str(self._lock_within_ms)})

    def _tell_locks(self, conn: Connection, began: float) -> None:
        self.around.tell("step.locks", locks_told(conn, began))

    # in parts -------------------------------------------------------------------------------------------------------

    def _run_in_parts(self, come: Come) -> None:
        self.alone |= come.alone
        parts = self.work.parts(self.alone, come.following)
        for part in parts:
            if part.alone:
                self._run_alone(part.pieces[0])
            else:
                self._run_group(part, last=part is parts[-1])
        if not parts or parts[-1].alone:
            self._close()

    def _run_group(self, part: Part, *, last: bool) -> None:
        with self._writing() as conn:
            owner = self.begin(conn)
            began = time.monotonic()
            self.salvaged += self._pieces(conn, part.pieces, owner)
            if last:
                self._write_end(conn, owner)
            else:
                come_to(conn, self.key, part.end, alone=self.alone)
            self._tell_locks(conn, began)

    def _close(self) -> None:
        with self._writing() as conn:
            self._write_end(conn, self.begin(conn))

    def _write_end(self, conn: Connection, owner: str) -> None:
        with as_role(conn, owner):
            self.record(conn)
        finished(conn, self.key)

    def _run_alone(self, piece: Piece) -> None:
        """Intent, then the statement in no transaction, then its outcome from the catalog."""
        self.at = piece
        with self._writing() as conn:
            owner = self.begin(conn)
            come = how_far(conn, self.key) or Come()
            found = self._outcome(conn, piece, owner)
            if found.standing is not Standing.DONE:
                self._require_tellable(piece, come, found)
                come_to(conn, self.key, piece.number, trying=True, alone=self.alone)
        if found.standing is not Standing.DONE:
            found = self._singly(piece, owner)
        self.around.tell("step.alone", {"statement": piece.said, "outcome": found.evidence})
        with self._writing() as conn:
            come_to(conn, self.key, piece.number + 1, alone=self.alone)
        self.at = None

    def _outcome(self, conn: Connection, piece: Piece, owner: str) -> Outcome:
        with as_role(conn, owner):
            for setting in self.work.settings(piece.number):
                conn.execute(setting.text.encode())
            found = outcome_of(conn, piece.statement)
            conn.execute("RESET ALL")
        self._keep_patience(conn)
        return found

    def _require_tellable(self, piece: Piece, come: Come, found: Outcome) -> None:
        if come.trying and come.following == piece.number and found.standing is Standing.UNKNOWN:
            raise RollbackError(
                f"Whether {piece.said} of {self.work.script.file} ran is not known: {found.evidence}",
                target=self.work.target,
                state=f"the statements before it ran, those after it did not; it was begun{self._and_version()}",
                next="see whether it ran; set `following` in toolkit.down_progress to "
                f"{piece.number + 1} if it did, `trying` to false if it did not; then run the plan again",
            )

    def _and_version(self) -> str:
        return ", and the state table says the version before"

    def _singly(self, piece: Piece, owner: str) -> Outcome:
        """CONCURRENTLY waits for old snapshots, which a lock_timeout would cut off: it is lifted here."""
        within_ms = int(self.around.patience.hang_up_after_s * 1000)
        database = self.around.systems.database
        try:
            with database.singly(within_ms=within_ms, lock_within_ms=0) as conn, self._watching(conn, alone=True):
                conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
                for setting in self.work.settings(piece.number):
                    conn.execute(setting.text.encode())
                found = outcome_of(conn, piece.statement)
                if found.clear is not None:
                    conn.execute(found.clear)
                    found = outcome_of(conn, piece.statement)
                if found.standing is not Standing.DONE:
                    conn.execute(piece.text.encode())
                    found = outcome_of(conn, piece.statement)
        except DatabaseError as error:
            if sqlstate_of(error) is not None:
                self._not_begun(piece)
            raise
        if found.standing in (Standing.NOT_DONE, Standing.HALF):
            raise RollbackError(
                f"{piece.said} of {self.work.script.file} ran, but {found.evidence}",
                target=self.work.target,
                state="the statements before it ran, those after it did not",
                next="find out why, then run the plan again: it goes on from there",
            )
        return found

    def _not_begun(self, piece: Piece) -> None:
        """The server answered with an error: what cannot be told from the catalog did not happen."""
        with contextlib.suppress(DatabaseError), self._writing() as conn:
            come_to(conn, self.key, piece.number, alone=self.alone)

    # connections ----------------------------------------------------------------------------------------------------

    @property
    def _lock_within_ms(self) -> int:
        return ENDING_LOCK_WITHIN_MS if self.ending else self.around.patience.lock_within_ms

    def _come(self) -> Come | None:
        with self.around.systems.database.reading() as conn:
            return how_far(conn, self.key)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction behind the fence, with an eye on who is in its way."""
        database, patience = self.around.systems.database, self.around.patience
        bounds = {"lock_within_ms": self._lock_within_ms, "hang_up_after_s": patience.hang_up_after_s}
        with database.writing(**bounds) as conn, self._watching(conn):  # type: ignore[arg-type]
            self.around.fence.guard(conn)
            hold_nothing_for_the_dead(conn)
            yield conn

    @contextlib.contextmanager
    def _watching(self, conn: Connection, *, alone: bool = False) -> Iterator[None]:
        after_s = 0.0 if self.ending else self.around.patience.give_up_after_s if alone else None
        end_after_s = after_s if self.around.end_blockers else None
        watch = BlockerWatch(self.around.systems.database, pid_of(conn), end_after_s=end_after_s)
        try:
            with watch:
                yield
        finally:
            self.blockers = list(watch.seen) or self.blockers
            if watch.ended.sessions or watch.ended.spared:
                self.around.tell("step.blockers_ended", watch.ended.to_json())


def _transaction(conn: Connection) -> object:
    """The number of the transaction that this connection is in."""
    return conn.execute("SELECT txid_current()").fetchone()

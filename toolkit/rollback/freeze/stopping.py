"""Stop writes: take the write privileges away and keep them, in one transaction; then end who has written already.

    lock ─► read the privileges ─► keep them ─► revoke ─► nobody of the application can write any more? ─► commit
         ─► end the transactions that had written ─► say that it is settled

Nothing is changed where it could not be given back exactly, or where the application could go on writing without any
grant. Killed after the commit, the same call goes on with who is left.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database, pid_of, sql
from toolkit.errors import DatabaseError, RollbackError
from toolkit.progress import Advance, no_advance
from toolkit.rollback.blocking import Blocker, BlockerWatch, Patience, sqlstate_of
from toolkit.rollback.freeze import record
from toolkit.rollback.freeze.holes import holes
from toolkit.rollback.freeze.privileges import (
    PUBLIC,
    Privilege,
    write_privileges,
)
from toolkit.rollback.freeze.record import Frozen
from toolkit.rollback.freeze.scope import Scope
from toolkit.rollback.freeze.taking import kept, staged, take_all, things
from toolkit.rollback.freeze.writers import OpenRole, Writer, end_writers, open_roles

LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION, INTERNAL = "55P03", "40P01", "40001", "XX000"
AGAIN = (LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION, INTERNAL)  # internal: a tuple was concurrently updated
STATEMENT_WITHIN_MS = 10_000
PATIENCE = Patience(lock_within_ms=500, give_up_after_s=20, first_pause_s=0.1, longest_pause_s=1.0)
END_WITHIN_S = 10.0

Guard = Callable[[Connection], None]


def _free(_conn: Connection) -> None:
    pass


@dataclass(frozen=True)
class Means:
    """What a freeze is done with. `guard` is asked in each transaction whether we may still act. `end_blockers`: end
    the sessions that hold what the freeze waits for, when half of the patience is used up."""

    guard: Guard = _free
    advance: Advance = no_advance
    patience: Patience = PATIENCE
    end_within_s: float = END_WITHIN_S
    end_blockers: bool = False


@dataclass(frozen=True)
class Stopped:
    """What a freeze did: privileges taken, roles that may not log in, transactions ended, seconds for each part.

    `holes` are sentences about ways to write that no privilege stops.
    """

    privileges: int
    closed: tuple[str, ...]
    ended: tuple[Writer, ...]
    holes: tuple[str, ...]
    revoke_s: float
    settle_s: float

    def __str__(self) -> str:
        closed = f", {', '.join(self.closed)} may not log in" if self.closed else ""
        return (
            f"{self.privileges} write privileges taken away in {self.revoke_s * 1000:.0f} ms{closed}; "
            f"{len(self.ended)} transactions that had written ended in {self.settle_s * 1000:.0f} ms"
        )


@dataclass(frozen=True)
class _Wish:
    """What is to be frozen, for whom."""

    scope: Scope
    incident: str
    plan: str
    by: str


@dataclass
class _Taken:
    application: tuple[str, ...]
    closed: list[str]
    privileges: int = 0
    holes: tuple[str, ...] = ()
    settled: bool = False


def freeze_writes(
    database: Database, scope: Scope, *, incident: str, plan: str, by: str, means: Means | None = None
) -> Stopped:
    """Stop the writes of everybody but the owners, our own role and those exempt; safe to repeat.

    A freeze of another plan that is in force is taken over, with what it has kept. Raises RollbackError when it could
    not be undone exactly, when a role of the application writes without any grant and cannot be shut out, when its
    locks were not to be had, or when somebody who had written could not be ended; DatabaseError.
    """
    means = means or Means()
    began = time.monotonic()
    taken = _patiently(database, _Wish(scope, incident, plan, by), means)
    revoked = time.monotonic()
    ended = _settle(database, scope, taken, means)
    return Stopped(
        taken.privileges, tuple(taken.closed), tuple(ended), taken.holes, revoked - began, time.monotonic() - revoked
    )


def _patiently(database: Database, wish: _Wish, means: Means) -> _Taken:
    began, give_up_after_s = time.monotonic(), means.patience.give_up_after_s
    for pause in means.patience.pauses():
        blockers: list[Blocker] = []
        end = means.end_blockers and time.monotonic() - began > give_up_after_s / 2
        try:
            return _revoke(database, wish, means, blockers, end=end)
        except DatabaseError as error:
            spent = time.monotonic() - began
            if sqlstate_of(error) not in AGAIN or spent > give_up_after_s:
                if blockers:
                    raise _blocked(error, blockers, database) from error
                raise
        means.advance("waiting for locks on the privileges", spent, give_up_after_s)
        time.sleep(pause)
    raise AssertionError("patience has no end")


def _revoke(database: Database, wish: _Wish, means: Means, blockers: list[Blocker], *, end: bool) -> _Taken:
    """One try, in one transaction. Whoever was in the way is put into `blockers`, and ended where that is asked."""
    with database.writing(
        within_ms=STATEMENT_WITHIN_MS,
        lock_within_ms=means.patience.lock_within_ms,
        hang_up_after_s=3 * STATEMENT_WITHIN_MS / 1000,
    ) as conn:
        watch = BlockerWatch(database, pid_of(conn), end_after_s=0 if end else None)
        try:
            with watch:
                return _revoke_in(conn, wish, means.guard, database.target)
        finally:
            blockers += watch.seen


def _revoke_in(conn: Connection, wish: _Wish, guard: Guard, target: str) -> _Taken:
    guard(conn)
    there, scope = record.lock(conn), wish.scope
    keep = kept(conn, scope)
    taken = _Taken(_application(conn, scope, keep, there), list(there.closed_roles) if there else [])
    freeze = there.id if there else _begin(conn, wish)
    revoked = take_all(conn, scope.schemas, keep)
    taken.privileges = len(revoked)
    record.save(conn, freeze, staged(revoked, scope))
    shut_out = _close(conn, freeze, scope, taken, target)
    taken.settled = there is not None and there.settled_at is not None and not revoked and not shut_out
    record.mark_frozen(conn, freeze, incident=wish.incident, plan=wish.plan, settled=taken.settled)
    taken.holes = tuple(holes(conn, scope, taken.application))
    return taken


def _begin(conn: Connection, wish: _Wish) -> str:
    known = things(conn, wish.scope.schemas)
    return record.write_down(conn, wish.scope, incident=wish.incident, plan=wish.plan, by=wish.by, known=known)


def _close(conn: Connection, freeze: str, scope: Scope, taken: _Taken, target: str) -> bool:
    """Shut out the roles of the application that write without any grant, if there are any. Raises RollbackError where
    we may not."""
    able = [each for each in open_roles(conn, scope, taken.application) if each.name not in taken.closed]
    for role in able:
        if not role.may_close:
            raise _open(conn, role, target)
        conn.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role.name)))
        login = Privilege("role", "", role.name, "", role.name, "LOGIN", "", False)
        record.save(conn, freeze, [(login, scope.stages.of("role", "", role.name, "LOGIN"))])
        taken.closed.append(role.name)
    if able:
        record.mark_closed(conn, freeze, taken.closed)
    return bool(able)


def _open(conn: Connection, role: OpenRole, target: str) -> RollbackError:
    row = conn.execute("SELECT session_user").fetchone()
    ours = row == (role.name,)
    if ours:
        following = "give the application a role of its own, which does not own the tables"
    else:
        following = (
            f"as a superuser: ALTER ROLE {role.name} NOLOGIN, and end its sessions; or exempt it "
            "(freeze_exempt_roles in playbook.toml) if the application does not use it"
        )
    return RollbackError(
        f"The application's role {role} can write without any grant"
        + (", and it is the role that we use ourselves" if ours else ", and we may not shut it out"),
        target=target,
        state="nothing was changed, writes go on",
        next=following,
    )


def _settle(database: Database, scope: Scope, taken: _Taken, means: Means) -> list[Writer]:
    """End who had written, and say that nobody is left. Once: later locks are those of statements that are refused."""
    if taken.settled:
        return []
    ended = end_writers(
        database, scope, taken.application, taken.closed, within_s=means.end_within_s, advance=means.advance
    )
    hang_up_s = 3 * STATEMENT_WITHIN_MS / 1000
    with database.writing(within_ms=STATEMENT_WITHIN_MS, hang_up_after_s=hang_up_s) as conn:
        means.guard(conn)
        there = record.lock(conn)
        if there is not None and there.settled_at is None:
            record.mark_settled(conn, there.id)
    return ended


def _application(conn: Connection, scope: Scope, keep: Sequence[str], there: Frozen | None) -> tuple[str, ...]:
    """As whom the application writes: as the playbook says; or whoever has grants, and the owners that are in use."""
    if scope.application_roles:
        return scope.application_roles
    granted = {each.privilege.grantee for each in write_privileges(conn, scope.schemas, keep)}
    if there is not None:
        granted |= {each.grantee for each in record.saved_all(conn, there.id)}
    rows = conn.execute(
        """
        SELECT DISTINCT owner.rolname::text
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_roles AS owner ON owner.oid = relowner
        JOIN pg_stat_activity ON usesysid = owner.oid AND datname = current_database()
        WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p') AND NOT owner.rolname = ANY (%(keep)s)
        """,
        {"schemas": list(scope.schemas), "keep": list(keep)},
    ).fetchall()
    return tuple(sorted((granted - {PUBLIC}) | {row[0] for row in rows}))


def _blocked(error: DatabaseError, blockers: Sequence[Blocker], database: Database) -> RollbackError:
    return RollbackError(
        f"The privileges could not be taken away: {error.what}. In the way: {'; '.join(map(str, blockers))}",
        target=database.target,
        state="nothing was changed, writes go on",
        next=f"let it end, or end it: SELECT pg_terminate_backend({blockers[0].pid}); then run the plan again",
    )

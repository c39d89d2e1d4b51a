"""Stop writes: take the write privileges away and keep them, in one transaction; then end who has written already.

    lock ─► read the privileges ─► keep them ─► revoke ─► nobody of the application can write any more? ─► commit
         ─► end the transactions that had written ─► say that it is settled

Nothing is changed where it could not be given back exactly, or where the application could go on writing without any
grant. Killed after the commit, the same call goes on with who is left.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import DatabaseError, RollbackError
from toolkit.rollback.blocking import Blocker, BlockerWatch, Patience, sqlstate_of
from toolkit.rollback.freeze import record
from toolkit.rollback.freeze.holes import holes
from toolkit.rollback.freeze.privileges import (
    PUBLIC,
    Granted,
    Privilege,
    acting_as,
    as_ourselves,
    in_schemas,
    take_away,
    write_privileges,
)
from toolkit.rollback.freeze.record import Frozen
from toolkit.rollback.freeze.scope import Scope
from toolkit.rollback.freeze.writers import OpenRole, Writer, end_writers, open_roles
from toolkit.rollback.plan import Stage

LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION, INTERNAL = "55P03", "40P01", "40001", "XX000"
AGAIN = (LOCK_NOT_AVAILABLE, DEADLOCK, SERIALIZATION, INTERNAL)  # internal: a tuple was concurrently updated
STATEMENT_WITHIN_MS = 10_000
PATIENCE = Patience(lock_within_ms=500, give_up_after_s=20, first_pause_s=0.1, longest_pause_s=1.0)
END_WITHIN_S = 10.0

Guard = Callable[[Connection], None]
Advance = Callable[[str, float, float | None], None]


def _free(_conn: Connection) -> None:
    pass


def _silent(_what: str, _done: float, _of: float | None) -> None:
    pass


@dataclass(frozen=True)
class Means:
    """What a freeze is done with. `guard` is asked in each transaction whether we may still act. `end_blockers`: end
    the sessions that hold what the freeze waits for, when half of the patience is used up."""

    guard: Guard = _free
    advance: Advance = _silent
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


@dataclass
class _Taken:
    privileges: int = 0
    closed: list[str] = field(default_factory=list)
    application: tuple[str, ...] = ()
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
    taken = _patiently(database, scope, incident, plan, by, means)
    revoked = time.monotonic()
    ended = _settle(database, scope, taken, means)
    return Stopped(
        taken.privileges, tuple(taken.closed), tuple(ended), taken.holes, revoked - began, time.monotonic() - revoked
    )


def tighten(conn: Connection) -> int:
    """In a transaction that has created or granted something (a migration): what it gave to write is frozen too.

    Nothing happens where nothing is frozen, or where it is released in part. Returns how many privileges.
    """
    return _freeze_again(conn, {}, keep_known=True)


def reapply(conn: Connection, schema_map: dict[str, str] | None = None) -> int:
    """In a transaction that swaps other tables in: they are frozen as those that they replace.

    `schema_map` is keyed by the application's name of a schema and tells under which name its new tables stand at this
    moment; {} where they have it already. What is given back in the end is what the replaced ones had, so that a
    restore revives no right that was taken since; what only the new ones hold is kept as theirs. Returns how many
    privileges were revoked.
    """
    return _freeze_again(conn, schema_map or {}, keep_known=False)


def writable(database: Database, there: Frozen) -> int:
    """How many write privileges there are although it is frozen: granted by somebody since."""
    with database.reading() as conn:
        return len(write_privileges(conn, there.scope.schemas, kept(conn, there.scope)))


def _patiently(database: Database, scope: Scope, incident: str, plan: str, by: str, means: Means) -> _Taken:
    began = time.monotonic()
    for pause in means.patience.pauses():
        blockers: list[Blocker] = []
        try:
            return _revoke(database, scope, incident, plan, by, means, blockers)
        except DatabaseError as error:
            spent = time.monotonic() - began
            if sqlstate_of(error) not in AGAIN or spent > means.patience.give_up_after_s:
                if blockers:
                    raise _blocked(error, blockers, database) from error
                raise
            if means.end_blockers and blockers and spent > means.patience.give_up_after_s / 2:
                _end(database, blockers)
        means.advance("waiting for locks on the privileges", spent, means.patience.give_up_after_s)
        time.sleep(pause)
    raise AssertionError("patience has no end")


def _revoke(
    database: Database, scope: Scope, incident: str, plan: str, by: str, means: Means, blockers: list[Blocker]
) -> _Taken:
    """One try, in one transaction."""
    bound_ms = means.patience.lock_within_ms
    hang_up_s = 3 * STATEMENT_WITHIN_MS / 1000
    with database.writing(within_ms=STATEMENT_WITHIN_MS, lock_within_ms=bound_ms, hang_up_after_s=hang_up_s) as conn:
        watch = BlockerWatch(database, conn.info.backend_pid)
        try:
            with watch:
                return _revoke_in(conn, scope, incident, plan, by, means.guard, database.target)
        finally:
            blockers += watch.seen


def _revoke_in(conn: Connection, scope: Scope, incident: str, plan: str, by: str, guard: Guard, target: str) -> _Taken:
    guard(conn)
    there = record.lock(conn)
    keep = kept(conn, scope)
    application = _application(conn, scope, keep, there)
    freeze = (
        there.id
        if there
        else record.write_down(conn, scope, incident=incident, plan=plan, by=by, known=_things(conn, scope.schemas))
    )
    if there is None or there.stage is not None or there.plan != plan:
        record.mark_frozen(conn, freeze, incident=incident, plan=plan, closed=there.closed_roles if there else ())
    taken = _Taken(application=application, closed=list(there.closed_roles) if there else [])
    revoked = _take_all(conn, scope.schemas, keep)
    record.save(conn, freeze, _staged(revoked, scope))
    taken.privileges = len(revoked)
    _close(conn, freeze, scope, taken, target)
    taken.settled = there is not None and there.settled_at is not None and not revoked and not taken.closed
    taken.holes = tuple(holes(conn, scope, application))
    if revoked:
        record.mark_frozen(conn, freeze, incident=incident, plan=plan, closed=taken.closed)
    return taken


def _take_all(conn: Connection, schemas: Sequence[str], keep: Sequence[str]) -> list[Granted]:
    """Revoke all that may be written, and see that it is gone; what was revoked."""
    found = write_privileges(conn, schemas, keep)
    for grantor in sorted({each.privilege.grantor for each in found}):
        with acting_as(conn, grantor):
            pass  # who cannot act for a grantor could not give it back
    take_away(conn, [each for each in found if each.privilege.grantor == each.owner])
    take_away(conn, write_privileges(conn, schemas, keep))
    if left := write_privileges(conn, schemas, keep):
        raise RollbackError(
            f"{len(left)} privileges could not be revoked, such as {left[0].privilege} by {left[0].privilege.grantor}",
            state="nothing was changed",
            next="revoke them by hand, or exempt that role: freeze_exempt_roles in playbook.toml",
        )
    return found


def _staged(revoked: Sequence[Granted], scope: Scope) -> list[tuple[Privilege, Stage]]:
    return [
        (
            each.privilege,
            scope.stages.of(each.privilege.kind, each.privilege.schema, each.serves, each.privilege.privilege),
        )
        for each in revoked
    ]


def _close(conn: Connection, freeze: str, scope: Scope, taken: _Taken, target: str) -> None:
    """Shut out the roles of the application that write without any grant. Raises RollbackError where we may not."""
    for role in open_roles(conn, scope, taken.application):
        if not role.may_close:
            raise _open(conn, role, target)
        conn.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role.name)))
        login = Privilege("role", "", role.name, "", role.name, "LOGIN", "", False)
        record.save(conn, freeze, [(login, scope.stages.of("role", "", role.name, "LOGIN"))])
        taken.closed.append(role.name)
    if taken.closed:
        record.mark_closed(conn, freeze, taken.closed)


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


def _freeze_again(conn: Connection, schema_map: dict[str, str], *, keep_known: bool) -> int:
    with as_ourselves(conn):
        there = record.frozen_in(conn)
        if there is None or there.stage is not None:
            return 0
        standing = {name: schema_map.get(name, name) for name in there.scope.schemas}
        ours = {there_now: name for name, there_now in standing.items()}
        revoked = _take_all(conn, list(standing.values()), kept(conn, there.scope))
        named = [Granted(in_schemas([each.privilege], ours)[0], each.serves, each.owner) for each in revoked]
        known = record.known_things(conn, there.id)
        new = [each for each in named if keep_known or _thing(each.privilege) not in known]
        record.save(conn, there.id, _staged(new, there.scope))
        return len(revoked)


def kept(conn: Connection, scope: Scope) -> list[str]:
    """Roles whose privileges are left alone: exempt, or our own."""
    row = conn.execute("SELECT session_user::text").fetchone()
    assert row is not None
    return [*scope.exempt_roles, row[0]]


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


def _things(conn: Connection, schemas: Sequence[str]) -> list[str]:
    rows = conn.execute(
        """
        SELECT nspname || '.' || relname
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'f', 'S')
        UNION ALL
        SELECT nspname || '.'
        FROM pg_namespace
        WHERE nspname = ANY (%(schemas)s)
        ORDER BY 1
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [row[0] for row in rows]


def _thing(privilege: Privilege) -> str:
    return f"{privilege.schema}.{privilege.name}"


def _end(database: Database, blockers: Sequence[Blocker]) -> None:
    with database.reading() as conn:
        for blocker in blockers:
            conn.execute("SELECT pg_terminate_backend(%(pid)s)", {"pid": blocker.pid})


def _blocked(error: DatabaseError, blockers: Sequence[Blocker], database: Database) -> RollbackError:
    return RollbackError(
        f"The privileges could not be taken away: {error.what}. In the way: {'; '.join(map(str, blockers))}",
        target=database.target,
        state="nothing was changed, writes go on",
        next=f"let it end, or end it: SELECT pg_terminate_backend({blockers[0].pid}); then run the plan again",
    )

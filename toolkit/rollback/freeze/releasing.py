"""Give the write privileges back, stage by stage, exactly as they were; and see that they are.

What cannot be given back is told, not passed over: a table that is gone, a role that was dropped meanwhile.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.checks import Finding, judge, unknown
from toolkit.errors import RollbackError
from toolkit.rollback.freeze import record
from toolkit.rollback.freeze.privileges import PUBLIC, Privilege, give_back, write_privileges
from toolkit.rollback.freeze.record import Frozen
from toolkit.rollback.freeze.stages import STAGES, reached
from toolkit.rollback.freeze.stopping import STATEMENT_WITHIN_MS, Means
from toolkit.rollback.freeze.taking import kept
from toolkit.rollback.plan import Stage

LOCK_WITHIN_MS = 5_000
NAMED = 5

# What there is to give privileges on, as 'kind schema.name.column'; its owner, as whom it is granted.
_THERE = """
SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind, nspname::text, relname::text, '' AS column_name,
       pg_get_userbyid(relowner)::text
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'f', 'S')
UNION ALL
SELECT 'column', nspname, relname, attname, pg_get_userbyid(relowner)
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'f') AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'schema', nspname, '', '', pg_get_userbyid(nspowner)
FROM pg_namespace
WHERE nspname = ANY (%(schemas)s)
UNION ALL
SELECT 'role', '', rolname, '', ''
FROM pg_roles
"""


@dataclass(frozen=True)
class Released:
    """What a release gave back. `gone`: privileges on what is not there any more, or of roles that are not."""

    stage: Stage
    privileges: int
    gone: tuple[Privilege, ...]

    def __str__(self) -> str:
        gone = f"; {len(self.gone)} could not be: {_some(self.gone)} is not there any more" if self.gone else ""
        return f"writes are released as far as {self.stage}: {self.privileges} privileges given back{gone}"


def release_writes(database: Database, stage: Stage, *, means: Means | None = None, undone: bool = False) -> Released:
    """Release what is frozen, as far as a stage; at 'everything' the freeze is lifted. Safe to repeat.

    `undone`: the freeze is lifted because its plan was aborted. Nothing happens where nothing is frozen. Raises
    RollbackError when the privileges are not what they were, or may not be given back; DatabaseError.
    """
    hang_up_s = 3 * STATEMENT_WITHIN_MS / 1000
    with database.writing(
        within_ms=STATEMENT_WITHIN_MS, lock_within_ms=LOCK_WITHIN_MS, hang_up_after_s=hang_up_s
    ) as conn:
        (means or Means()).guard(conn)
        there = record.lock(conn)
        if there is None:
            return Released(stage, 0, ())
        waiting = record.saved(conn, there.id, reached(stage), released=False)
        found, gone = _there(conn, there, waiting)
        give_back(conn, [each for each in found if each.kind != "role"])
        _let_in(conn, [each for each in found if each.kind == "role"])
        state: record.State = "undone" if undone and stage == STAGES[-1] else stage
        if not there.released(stage):
            record.mark_released(conn, there.id, reached(stage), state)
        if missing := _difference(conn, there)[0]:
            raise RollbackError(
                f"{len(missing)} privileges could not be given back, such as {missing[0]} by {missing[0].grantor}",
                target=database.target,
                state="nothing was released by this step",
                next="grant them by hand, then run the plan again",
            )
        return Released(stage, len(found), tuple(gone))


def look_released(database: Database, plan: str, stage: Stage) -> Finding:
    """Whether the privileges are exactly those that were kept for the stages up to this one, and no others."""
    freeze = record.freeze_of(database, plan)
    if freeze is None:
        return unknown("this plan has frozen nothing")
    if not freeze.released(stage) and freeze.state != "undone":
        return judge(False, f"{freeze}: not released as far as {stage}")
    with database.reading() as conn:
        missing, extra = _difference(conn, freeze)
        _, gone = _there(conn, freeze, record.saved(conn, freeze.id, STAGES, released=True))
    told = f"{freeze}; {len(missing)} privileges missing, {len(extra)} more than were kept"
    told += f", such as {(missing or extra)[0]}" if missing or extra else ""
    told += f"; {len(gone)} on what is not there any more" if gone else ""
    return judge(not missing and not extra, told)


def _difference(conn: Connection, freeze: Frozen) -> tuple[list[Privilege], list[Privilege]]:
    """What is missing of what was released, and what is there that was not."""
    released = record.saved(conn, freeze.id, STAGES, released=True)
    wanted = {each for each in _there(conn, freeze, released)[0] if each.kind != "role"}
    now = {each.privilege for each in write_privileges(conn, freeze.scope.schemas, kept(conn, freeze.scope))}
    return sorted(wanted - now), sorted(now - wanted)


def _there(
    conn: Connection, freeze: Frozen, privileges: Sequence[Privilege]
) -> tuple[list[Privilege], list[Privilege]]:
    """Those that can be given back, by whom they must be; and those on what is gone.

    What an owner granted is granted by the owner of today. Who granted on what he had been given, or is exempt, does
    so himself.
    """
    rows = conn.execute(_THERE, {"schemas": list(freeze.scope.schemas)}).fetchall()
    owners = {(kind, schema, name, column): owner for kind, schema, name, column, owner in rows}
    roles = {name for kind, _, name, _ in owners if kind == "role"}
    on = {(p.schema, p.name, p.privilege, p.grantee) for p in record.saved_all(conn, freeze.id) if p.grantable}
    found, gone = [], []
    for each in privileges:
        owner = owners.get((each.kind, each.schema, each.name, each.column))
        granted_on = (each.schema, each.name, each.privilege, each.grantor) in on
        if owner is None or (each.kind != "role" and not _known(each, roles, granted_on)):
            gone.append(each)
        elif each.kind == "role" or granted_on or each.grantor in freeze.scope.exempt_roles:
            found.append(each)
        else:
            found.append(replace(each, grantor=owner))
    return found, gone


def _known(privilege: Privilege, roles: Collection[str], granted_on: bool) -> bool:
    grantee = privilege.grantee == PUBLIC or privilege.grantee in roles
    return grantee and (not granted_on or privilege.grantor in roles)


def _let_in(conn: Connection, logins: Sequence[Privilege]) -> None:
    for login in logins:
        conn.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(login.name)))


def _some(privileges: Sequence[Privilege]) -> str:
    more = f" and {len(privileges) - NAMED} more" if len(privileges) > NAMED else ""
    return ", ".join(map(str, privileges[:NAMED])) + more

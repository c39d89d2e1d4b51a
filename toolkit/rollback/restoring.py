"""Collects what the planner of a restore decides from: the sources, what hangs on the schemas, what was damaged.

It reads the target and the backups, in bounded time, and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.adapters.postgres import Connection
from toolkit.adapters.supabase import WORST_LOSS
from toolkit.adapters.systems import Systems
from toolkit.clock import utc_now
from toolkit.errors import PlatformError, RollbackError
from toolkit.incident import Incident
from toolkit.progress import Advance, no_advance
from toolkit.rollback.damage import Damage, Proposal
from toolkit.rollback.lost_rows import propose_lost_rows
from toolkit.rollback.merge import propose_damage
from toolkit.rollback.plan import AS_PROPOSED, NEWEST, Plan, RestoreWish, is_platform
from toolkit.rollback.platform_recovery import PlatformRecovery, plan_platform_recovery, wanted_moment
from toolkit.rollback.restore.names import mark_of
from toolkit.rollback.restore.planner import plan_restore
from toolkit.rollback.restore.records import read_swap
from toolkit.rollback.restore.source_reading import Source
from toolkit.rollback.restore.sources import Damaged, candidates, choose, damage_moment, find_sources, named_source
from toolkit.rollback.restore.survey import survey_schemas
from toolkit.rollback.restore.ways import choose_way
from toolkit.rollback.situation import Situation
from toolkit.rollback.sql_lexer import SqlError, Statement
from toolkit.verify.fingerprints import OWN_SCHEMA

READ_WITHIN_MS = 10_000


def restore_plan(
    systems: Systems,
    incident: Incident,
    situation: Situation,
    source: str,
    *,
    wish: RestoreWish = AS_PROPOSED,
    reasons: Sequence[str] = (),
    turn: int = 1,
    advance: Advance = no_advance,
) -> Plan:
    """The plan of a restore from `source`: a path, or 'newest' for the newest verified one from before the damage.

    Without damage in the `wish` it is what a migration's evidence proposes; what only looks like damage is told, and
    not taken for it. `turn`: at least the how manieth restore of the incident it is; where that one was swapped in, it
    is the next.

    Raises RollbackError when there is no such backup or the database cannot be read, BackupError for one that cannot
    be used, UsageError for a path at which nothing is.
    """
    damaged = damage_moment(wish.damaged_at, situation.releases, situation.stable)
    platform, untold = _offered(systems)
    if is_platform(source):
        if platform is None:
            raise _no_platform(systems, untold)
        moment = wanted_moment(source, damaged, target=situation.target)
        return plan_platform_recovery(situation, platform, moment, turn=turn, reasons=reasons)
    if situation.server is None:
        raise RollbackError(
            f"The database cannot be read: {situation.unread or 'nobody answered'}",
            target=situation.target,
            state="nothing was done",
            next="mend the connection and plan again",
        )
    chosen = _source(systems, incident, situation, source, damaged, advance)
    names = systems.playbook.database
    schemas = [schema for schema in names.schemas if schema != OWN_SCHEMA]
    with systems.database.reading(within_ms=READ_WITHIN_MS) as conn:
        survey = survey_schemas(conn, schemas)
        stable = situation.stable[0] if situation.stable else None
        proposed = (*_proposed(conn, situation, schemas), *propose_lost_rows(conn, systems.playbook, stable))
        turn = _turn(conn, incident.id, str(chosen.path), turn)
    damage = tuple(each.damage for each in proposed if each.certain) if wish.damage is None else wish.damage
    last = situation.stable[0].version if situation.stable else None
    plan = plan_restore(
        situation,
        chosen,
        choose_way(survey, chosen.schemas or schemas, extensions=chosen.extensions, wanted=wish.way),
        damage,
        incident=incident.id,
        damaged=damaged,
        wanted_version=last if wish.wanted_version is None else wish.wanted_version,
        freeze=wish.freeze,
        platform=platform,
        now=utc_now(),
        reasons=(*reasons, *(_said(each) for each in proposed if each.damage in damage)),
        turn=turn,
        queue=names.queue_schema,
    )
    doubts = (*_suspected(proposed, damage), *_untold(damage), *([untold] if untold else []))
    return replace(plan, warnings=(*doubts, *plan.warnings), proposed=proposed)


def _offered(systems: Systems) -> tuple[PlatformRecovery | None, str]:
    """The platform's point-in-time recovery, where it has one; and what could not be asked, as a warning."""
    if systems.recovery is None:
        return None, ""
    try:
        found = systems.recovery.backups()
    except PlatformError as error:
        return None, f"What the platform could go back to is unknown: {error.what}."
    if found.earliest is None or found.latest is None:
        return None, ""
    return PlatformRecovery(found.earliest, found.latest, WORST_LOSS, systems.recovery.project), ""


def _no_platform(systems: Systems, untold: str) -> RollbackError:
    why = "it has no point-in-time recovery" if systems.recovery else "the playbook names no project of it"
    return RollbackError(
        f"The platform cannot recover this target: {untold or why}",
        target=systems.target.name,
        state="nothing was done",
        next="restore a backup (--backup-restore=newest); or set supabase_project_env and supabase_token_env",
    )


def _said(proposal: Proposal) -> str:
    return f"Damage to {proposal.damage.table}: {'; '.join(proposal.evidence)}."


def _suspected(proposed: Sequence[Proposal], damage: Sequence[Damage]) -> list[str]:
    """What only looks like it: a lawful change of most rows looks the same, and would be reverted."""
    return [
        f"It may be damage to {each.damage.table}, and is not taken for it: {'; '.join(each.evidence)}. To take it, "
        "say so in the restore's file (--damage FILE)."
        for each in proposed
        if each.damage not in damage
    ]


def _untold(damage: Sequence[Damage]) -> list[str]:
    return [
        f"What the damage wrote to {each.table} cannot be told from what was written after it: a table with a key is "
        "refused at the swap. "
        "Give the xids, or what it wrote, in the restore's file (--damage FILE), or do not take it."
        for each in damage
        if not each.is_told
    ]


def _turn(conn: Connection, incident: str, source: str, at_least: int) -> int:
    """The first turn under whose mark nothing was swapped in."""
    turn = at_least
    while (swapped := read_swap(conn, mark_of(incident, source, turn))) is not None and swapped.state == "done":
        turn += 1
    return turn


def _source(
    systems: Systems, incident: Incident, situation: Situation, source: str, damaged: Damaged, advance: Advance
) -> Source:
    if source != NEWEST:
        return named_source(Path(source), situation.server, advance=advance)
    sources = find_sources(incident, systems.target.backups)
    found = candidates(sources, damaged, situation.server, advance=advance)
    newest = choose(found, damaged, target=systems.target.name)
    if newest.kind == "ours":
        return newest
    read = named_source(newest.path, situation.server, advance=advance)  # which schemas it holds decides on the way
    return replace(read, taken_at=read.taken_at or newest.taken_at)


def _proposed(conn: Connection, situation: Situation, schemas: Sequence[str]) -> tuple[Proposal, ...]:
    """What looks like damage: by the migrations since the last verified version, and by who wrote most of a table's
    rows since then."""
    stable = situation.stable[0] if situation.stable else None
    statements = [
        statement for migration in _unverified(situation, stable.version if stable else None) for statement in migration
    ]
    xid = stable.baseline.get("xid") if stable else None
    if xid is None and not statements:
        return ()
    return propose_damage(conn, schemas, statements, not_before=str(xid) if xid else None)


def _unverified(situation: Situation, stable: int | None) -> list[list[Statement]]:
    """The statements of each up that was applied since the last verified version."""
    folder, state = situation.folder, situation.state
    if folder is None or state is None or state.version is None or stable is None:
        return []
    ups = [migration.up for migration in reversed(folder.between(stable, state.version)) if migration.up]
    found = []
    for up in ups:
        try:
            found.append(up.statements)
        except SqlError:
            continue
    return found

"""From a target and a wish to a plan: collect the facts, let the planner decide, or take up the plan that was begun.

It only reads, in bounded time. The planners are pure and know nothing of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.adapters.postgres import ServerIdentity
from toolkit.adapters.systems import Systems
from toolkit.errors import DatabaseError, PlatformError, RollbackError, UsageError, WrongServerError
from toolkit.incident import Incident
from toolkit.progress import Advance, no_advance
from toolkit.rollback.application import plan_application_rollback
from toolkit.rollback.begun import ONCE_MORE, plan_to_continue, times_ended
from toolkit.rollback.destruction import count_losses
from toolkit.rollback.diagnosis import diagnose
from toolkit.rollback.emergency import Breach, plan_emergency
from toolkit.rollback.kept_plan import times_ended as times_ended_on
from toolkit.rollback.mending import plan_mending
from toolkit.rollback.migration import plan_migration_rollback
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.pairing import find_pairing
from toolkit.rollback.plan import AS_PROPOSED, NEWEST, Plan, RestoreWish, Wish, is_platform
from toolkit.rollback.restore_file import is_restore_file, read_restore_file
from toolkit.rollback.restoring import restore_plan
from toolkit.rollback.situation import Releases, Situation, is_same_server, unseen_application
from toolkit.rollback.state_tables import read_state
from toolkit.rollback.target_version import last_stable, named_version, version_of

LAST_STABLE = "last-stable"
PREVIOUS = "previous"
LATEST_DEPLOYMENTS = 50


def rollback_plan(
    systems: Systems,
    incident: Incident,
    *,
    migration_target: int | str = 0,
    deployment: str = "",
    backup_restore: str = "",
    full_emergency: bool = False,
    breach: str = "",
    restore: RestoreWish = AS_PROPOSED,
    rows_stay: str = "",
    advance: Advance = no_advance,
) -> Plan:
    """The plan for what was recommended, or for what is named. Nothing is changed.

    `migration_target` is a version as the migration tool calls it, 'last-stable', or 0 for what the latest assessment
    recommends. `deployment` is an id or a host, or 'previous' for an application rollback to the one before; '' lets
    the planner choose. `backup_restore` is a backup's folder, a dump's file, 'newest', or a restore's file as a dry run
    writes it, which says more; `restore` is how, where it is no such file. `rows_stay` is why rows that a half-applied
    migration changed may stay so where it is undone. `advance` shows how far long looks are. A plan that was begun in
    this incident and still holds is returned again, so that it can be finished. Raises UsageError where there is
    neither a recommendation nor a name, RollbackError and BackupError from the planners, WrongServerError when the
    assessment was made on another server.
    """
    made = incident.latest("assessment.made")
    assessment: Mapping[str, Any] = made.data if made else {}
    recommended = assessment.get("recommendation") or {}
    if is_restore_file(backup_restore):
        file = read_restore_file(Path(backup_restore))
        backup_restore, restore = file.source, file.wish(Path(backup_restore))
    if full_emergency and is_platform(backup_restore):
        raise UsageError(
            "The platform's recovery stops and gives back by itself what a full emergency does in steps",
            state="nothing was done",
            next=f"use it alone: --backup-restore={backup_restore}",
        )
    if full_emergency:
        wish = Wish("emergency", None, deployment or None, source=backup_restore, breach=breach, restore=restore)
    elif backup_restore:
        wish = Wish("restore", None, None, source=backup_restore, restore=restore)
    else:
        wish = _wish(recommended, migration_target, deployment)
    wish = replace(wish, rows_stay=rows_stay)
    situation = survey(systems)
    wish = _placed(wish, migration_target, situation)
    _require_same_server(situation.server, assessment.get("server") or {}, systems.target.name)
    begun = plan_to_continue(incident.journal.entries(), situation, wish)
    if begun is not None:
        return begun
    return replace(_plan_anew(systems, incident, situation, wish, advance), wish=wish.bare)


def _plan_anew(systems: Systems, incident: Incident, situation: Situation, wish: Wish, advance: Advance) -> Plan:
    match wish.kind:
        case "application":
            return _application_plan(systems, incident, situation, wish, advance)
        case "restore":
            turn = _turn(systems, incident, situation)
            plan = _restore_plan(systems, incident, situation, wish, turn, advance, reasons=wish.reasons)
            return replace(plan, warnings=(*plan.warnings, *unseen_application(situation.releases)))
        case "emergency":
            return _emergency_plan(systems, incident, situation, wish, advance)
    return _migration_plan(systems, incident, situation, wish, advance)


def _turn(systems: Systems, incident: Incident, situation: Situation) -> int:
    """The how manieth restore or emergency plan of the incident a new one is, by its journal and by the target."""
    ended = times_ended(incident.journal.entries())
    if situation.server is not None:
        ended = max(ended, times_ended_on(systems.database, incident.id, ONCE_MORE))
    return ended + 1


def survey(systems: Systems) -> Situation:
    """The facts about a target. What the database or the platform does not tell is left out, with the reason."""
    target, database = systems.target, systems.database
    releases = _releases(systems)
    bare = Situation(systems.playbook.service.name, target.name, None, database.pooled, releases)
    try:
        server = database.identity()
        folder = read_folder(target.migrations)
        state = read_state(database, folder, systems.playbook.database.state_table)
        stable = tuple(database.stable_points())
    except (DatabaseError, RollbackError, UsageError) as error:
        return replace(bare, unread=error.what)
    return replace(bare, server=server, folder=folder, state=state, stable=stable)


def _releases(systems: Systems) -> Releases:
    """A platform that is down must not keep the database from being rolled back."""
    try:
        live = systems.platform.production(systems.production_host)
        return Releases(live, tuple(systems.platform.deployments(limit=LATEST_DEPLOYMENTS)))
    except PlatformError as error:
        return Releases(None, unread=error.what)


def _migration_plan(systems: Systems, incident: Incident, situation: Situation, wish: Wish, advance: Advance) -> Plan:
    folder, state, to, reasons = situation.folder, situation.state, wish.to, wish.reasons
    if state is not None and state.dirty and not situation.pooled:
        found = diagnose(systems, advance=advance)
        return plan_mending(situation, found, to=to, reasons=reasons, rows_stay=wish.rows_stay)
    if folder is not None and state is not None:
        if to is None:
            to = last_stable(situation.stable, state, folder).version
            reasons = (*reasons, f"Version {to} is the last at which all was verified.")
        situation = _with_losses(systems, situation, to)
    pairing = find_pairing(
        systems, situation, incident, wanted="migration", after=to, named=wish.deployment, advance=advance
    )
    return plan_migration_rollback(situation, to=to or 0, deployment=wish.deployment, reasons=reasons, pairing=pairing)


def _with_losses(systems: Systems, situation: Situation, to: int) -> Situation:
    """The situation with what the downs to a version destroy, counted."""
    folder, state = situation.folder, situation.state
    if folder is None or state is None:
        return situation
    doomed = folder.between(to, state.version or 0)
    return replace(situation, losses=count_losses(systems.database, doomed, systems.playbook.database.schemas))


def _application_plan(systems: Systems, incident: Incident, situation: Situation, wish: Wish, advance: Advance) -> Plan:
    """The application alone; with the schema where no earlier deployment works on the live one."""
    after = _version_below(situation)
    pairing = find_pairing(
        systems, situation, incident, wanted="application", after=after, named=wish.deployment, advance=advance
    )
    if pairing is None or not pairing.migrates or after is None:
        return plan_application_rollback(situation, deployment=wish.deployment, pairing=pairing)
    situation = _with_losses(systems, situation, after)
    return plan_migration_rollback(situation, to=after, deployment=wish.deployment, pairing=pairing)


def _version_below(situation: Situation) -> int | None:
    """The last stable version, if the schema is above it and the downs lead there."""
    if situation.state is None or situation.folder is None:
        return None
    try:
        return last_stable(situation.stable, situation.state, situation.folder).version
    except RollbackError:
        return None


def _emergency_plan(systems: Systems, incident: Incident, situation: Situation, wish: Wish, advance: Advance) -> Plan:
    """Application and schema back to the newest stable point, whichever of the two has moved since; a backup that was
    named is restored whether or not the schema has moved."""
    if not situation.stable and wish.deployment is None and not wish.source:
        raise RollbackError(
            "No stable state was ever recorded to go back to",
            target=systems.target.name,
            state="nothing was done",
            next="name the deployment, or use --migration-target, --app-rollback or --backup-restore by itself",
        )
    parts, releases = [], situation.releases
    live = releases.live.id if releases.live else ""
    deployment = wish.deployment or (situation.stable[0].deployment if situation.stable else live)
    chosen = releases.named(deployment)
    moved = _schema_moved(situation) or bool(wish.source)
    # A platform that does not answer keeps neither the database nor a breach waiting: a warning says what is not known.
    blind = releases.live is None and wish.deployment is None and (moved or bool(wish.breach))
    if not blind and deployment != releases.running.id and (chosen is None or chosen.id != releases.running.id):
        parts.append(plan_application_rollback(situation, deployment=deployment))
        assert chosen is not None, "the planner has refused what is not there"
        situation = replace(situation, releases=replace(releases, live=chosen))
    turn = _turn(systems, incident, situation)
    if moved:
        parts.append(_database_part(systems, incident, situation, wish, turn, advance))
    breach = Breach(wish.breach, _credentials(systems)) if wish.breach else None
    turn = max([turn, *(part.turn for part in parts)])
    return plan_emergency(situation, parts=parts, breach=breach, reasons=wish.reasons, turn=turn)


def _database_part(
    systems: Systems, incident: Incident, situation: Situation, wish: Wish, turn: int, advance: Advance
) -> Plan:
    """The migrations taken back; a restore where they cannot be, or where a backup was named."""
    if wish.source:
        return _restore_plan(systems, incident, situation, wish, turn, advance)
    try:
        alone = replace(wish, kind="migration", deployment=None)
        return _migration_plan(systems, incident, situation, alone, advance)
    except RollbackError as error:
        return _restore_plan(systems, incident, situation, wish, turn, advance, reasons=(f"{error.what}.",))


def _restore_plan(
    systems: Systems,
    incident: Incident,
    situation: Situation,
    wish: Wish,
    turn: int,
    advance: Advance,
    *,
    reasons: Sequence[str] = (),
) -> Plan:
    how = replace(wish.restore, freeze=False) if wish.kind == "emergency" else wish.restore  # it has its own freeze
    source = wish.source or NEWEST
    return restore_plan(systems, incident, situation, source, wish=how, reasons=reasons, turn=turn, advance=advance)


def _schema_moved(situation: Situation) -> bool:
    state = situation.state
    return state is not None and bool(situation.stable) and (state.dirty or state.version != _newest_stable(situation))


def _newest_stable(situation: Situation) -> int | None:
    newest = situation.stable[0]
    return version_of(newest, situation.folder) if situation.folder else newest.version


def _credentials(systems: Systems) -> tuple[str, ...]:
    """What must be rotated after a breach, by the names of the variables that hold it; never a value."""
    names = systems.playbook.targets[systems.target.name]
    return tuple(
        getattr(names, field)
        for field in ("database_url_env", "vercel_token_env", "webhook_secret_env", "cron_secret_env")
    )


def _wish(recommended: Mapping[str, Any], migration_target: int | str, deployment: str) -> Wish:
    named = deployment or None
    if migration_target == LAST_STABLE:
        return Wish("migration", None, named)
    if str(migration_target) not in ("", "0"):
        return Wish("migration", 0, named)
    if deployment == PREVIOUS:
        return Wish("application", None, None)
    kind, reasons = recommended.get("kind"), tuple(recommended.get("reasons") or ())
    if kind in ("migration", "restore", "emergency"):
        return Wish(kind, recommended.get("migration_target"), named, reasons)
    if kind == "application" or named:
        return Wish("application", None, named or recommended.get("deployment"), reasons)
    raise UsageError(
        "No rollback was recommended, and none was named" if recommended else "Nothing was assessed, and nothing named",
        state="nothing was done",
        next="run 01_assess; or name a migration_target (a version or 'last-stable') or a deployment",
    )


def _placed(wish: Wish, migration_target: int | str, situation: Situation) -> Wish:
    """The wish with a version of the folder's: what was named is the tool's own, and so was what was recommended."""
    if wish.kind != "migration" or wish.to is None or situation.folder is None:
        return wish
    if wish.to == 0:
        return replace(wish, to=named_version(str(migration_target), situation.folder))
    known = (point for point in situation.stable if point.version == wish.to)
    return replace(wish, to=next((version_of(point, situation.folder) for point in known), wish.to))


def _require_same_server(found: ServerIdentity | None, assessed: Mapping[str, Any], target: str) -> None:
    if found is None or not assessed:
        return
    if not is_same_server(found, assessed):
        raise WrongServerError(
            f"This is database {found.database} on {found.host}:{found.port}, not the one that was assessed",
            target=target,
            state="nothing was done",
            next="check the target's database URL, or assess again",
        )

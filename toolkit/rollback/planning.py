"""From a target and a wish to a plan: collect the facts, let the planner decide, or take up the plan that was begun.

It only reads, in bounded time. The planners are pure and know nothing of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from toolkit.adapters.postgres import ServerIdentity
from toolkit.adapters.systems import Systems
from toolkit.errors import DatabaseError, RollbackError, UsageError, WrongServerError
from toolkit.incident import Incident
from toolkit.rollback.application import plan_application_rollback
from toolkit.rollback.begun import plan_to_continue
from toolkit.rollback.destruction import count_losses
from toolkit.rollback.migration import plan_migration_rollback
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.plan import Kind, Plan
from toolkit.rollback.situation import Releases, Situation, is_same_server
from toolkit.rollback.state_tables import read_state
from toolkit.rollback.target_version import last_stable

LAST_STABLE = "last-stable"
PREVIOUS = "previous"
LATEST_DEPLOYMENTS = 50


@dataclass(frozen=True)
class Wish:
    """What somebody wants. `to` None: the last stable version. `deployment` None: the one that fits."""

    kind: Kind
    to: int | None
    deployment: str | None
    reasons: tuple[str, ...] = ()


def rollback_plan(
    systems: Systems, incident: Incident, *, migration_target: int | str = 0, deployment: str = ""
) -> Plan:
    """The plan for what was recommended, or for what is named. Nothing is changed.

    `migration_target` is a version, 'last-stable', or 0 for what the latest assessment recommends. `deployment` is an
    id or a host, or 'previous' for an application rollback to the one before; '' lets the planner choose. A plan that
    was begun in this incident and still holds is returned again, so that it can be finished. Raises UsageError where
    there is neither a recommendation nor a name, RollbackError from the planners, WrongServerError when the assessment
    was made on another server.
    """
    made = incident.latest("assessment.made")
    assessment: Mapping[str, Any] = made.data if made else {}
    wish = _wish(assessment.get("recommendation") or {}, migration_target, deployment)
    situation = survey(systems)
    _require_same_server(situation.server, assessment.get("server") or {}, systems.target.name)
    begun = plan_to_continue(incident.journal.entries(), situation, kind=wish.kind, to=wish.to, named=wish.deployment)
    if begun is not None:
        return begun
    if wish.kind == "application":
        return plan_application_rollback(situation, deployment=wish.deployment)
    return _migration_plan(systems, situation, wish)


def survey(systems: Systems) -> Situation:
    """The facts about a target. What the database does not tell is left out, with the reason."""
    target, database = systems.target, systems.database
    releases = Releases(
        systems.platform.production(systems.production_host),
        tuple(systems.platform.deployments(limit=LATEST_DEPLOYMENTS)),
    )
    bare = Situation(systems.playbook.service.name, target.name, None, database.pooled, releases)
    try:
        server = database.identity()
        folder = read_folder(target.migrations)
        state = read_state(database, folder, systems.playbook.database.state_table)
        stable = tuple(database.stable_points())
    except (DatabaseError, RollbackError, UsageError) as error:
        return replace(bare, unread=error.what)
    return replace(bare, server=server, folder=folder, state=state, stable=stable)


def _migration_plan(systems: Systems, situation: Situation, wish: Wish) -> Plan:
    folder, state, to, reasons = situation.folder, situation.state, wish.to, wish.reasons
    if folder is not None and state is not None:
        if to is None:
            to = last_stable(situation.stable, state, folder).version
            reasons = (*reasons, f"Version {to} is the last at which all was verified.")
        doomed = folder.between(to, state.version or 0)
        losses = count_losses(systems.database, doomed, systems.playbook.database.schemas)
        situation = replace(situation, losses=losses)
    return plan_migration_rollback(situation, to=to or 0, deployment=wish.deployment, reasons=reasons)


def _wish(recommended: Mapping[str, Any], migration_target: int | str, deployment: str) -> Wish:
    named = deployment or None
    if migration_target == LAST_STABLE:
        return Wish("migration", None, named)
    version = _version(migration_target)
    if version:
        return Wish("migration", version, named)
    if deployment == PREVIOUS:
        return Wish("application", None, None)
    kind, reasons = recommended.get("kind"), tuple(recommended.get("reasons") or ())
    if kind == "migration":
        return Wish("migration", recommended.get("migration_target"), named, reasons)
    if kind == "application" or named:
        return Wish("application", None, named or recommended.get("deployment"), reasons)
    raise UsageError(
        "No rollback was recommended, and none was named" if recommended else "Nothing was assessed, and nothing named",
        state="nothing was done",
        next="run 01_assess; or name a migration_target (a version or 'last-stable') or a deployment",
    )


def _version(migration_target: int | str) -> int:
    try:
        version = int(migration_target)
    except ValueError:
        version = -1
    if version < 0:
        raise UsageError(f"{migration_target!r} is no version to go back to", next="name a version, or 'last-stable'")
    return version


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

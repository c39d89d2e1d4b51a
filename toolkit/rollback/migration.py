"""Type 1, the migration rollback: downs in order, and the application first where it would not run on the older schema.

Pure: it decides from a `Situation` and returns a `Plan`. What cannot end well is refused here, before anything moves.
"""

from collections.abc import Sequence

from toolkit.adapters.poolers import USE
from toolkit.adapters.vercel import Deployment
from toolkit.errors import RollbackError
from toolkit.rollback.application import (
    deployment_for,
    fit_warnings,
    listed,
    named_deployment,
    point_production,
    said,
)
from toolkit.rollback.down_sql import hidden_code
from toolkit.rollback.frozen import frozen
from toolkit.rollback.migrations import Migration, MigrationFolder
from toolkit.rollback.pair.choosing import Pairing
from toolkit.rollback.plan import Plan, RunDown, Step
from toolkit.rollback.situation import Situation, unseen_application
from toolkit.rollback.state_tables import MigrationState

APPLICATION_FIRST = (
    "The application goes first. Between the steps the older code meets the newer schema, which mostly adds to what it "
    "knows; the other way round the newer code would miss what it asks for."
)


def plan_migration_rollback(
    situation: Situation,
    *,
    to: int,
    deployment: str | None = None,
    reasons: Sequence[str] = (),
    pairing: Pairing | None = None,
) -> Plan:
    """Go back to schema version `to`, with the application where the live one needs a newer schema.

    `deployment` names the one to go to; None chooses the newest that fits. `pairing` is what was found out about
    deployments and these schemas: it decides which one and in which order, writes frozen where no order fits; without
    it, or where that is nothing, recorded schema versions decide and the application goes first. Raises RollbackError
    for a pooled connection, a dirty state, drift, a target that is not older or not there, a down that is missing or
    not usable, and when no deployment fits.
    """
    folder, state = _usable(situation)
    _require_older(state, folder, to, situation.target)
    migrations = folder.between(to, state.version or 0)
    _require_applied(migrations, state, situation.target)
    _require_downs(migrations, situation.target)
    known = pairing is not None and pairing.order != "unknown"
    chosen = _paired(situation, pairing) if pairing and known else _application_for(situation, to, deployment)
    running = situation.releases.live
    steps = [_down(migration, folder, to) for migration in migrations]
    if chosen is not None and running is not None:
        why = _why_application(running, to, known=known)
        steps = _in_order(steps, point_production(chosen, running, why), pairing)
    return Plan(
        kind="migration",
        service=situation.service,
        target=situation.target,
        server=situation.server,
        summary=_summary(situation, state, to, chosen, pairing),
        steps=tuple(steps),
        destroys=tuple(str(loss) for loss in situation.losses if loss.version > to),
        warnings=(
            *_fit(chosen or running, situation, to, known=known),
            *(pairing.warnings if pairing else ()),
            *_hidden(migrations),
            *_doubts(state),
        ),
        reasons=(
            *reasons,
            *(pairing.reasons if pairing else ()),
            *([APPLICATION_FIRST] if chosen and not known else []),
        ),
    )


def _fit(serving: Deployment | None, situation: Situation, to: int, *, known: bool) -> tuple[str, ...]:
    if serving is None:
        return unseen_application(situation.releases)
    return () if known else fit_warnings(serving, to)


def _paired(situation: Situation, pairing: Pairing) -> Deployment | None:
    """The deployment that goes with it by what was found out; None where the live one may stay."""
    if pairing.deployment in (None, situation.releases.running.id):
        return None
    return named_deployment(situation.releases, pairing.deployment)


def _in_order(downs: list[Step], pointing: Step, pairing: Pairing | None) -> list[Step]:
    """The downs and the application's step, in the order in which what serves in between works."""
    order = pairing.order if pairing else "unknown"
    if order == "migration-first":
        return [*downs, pointing]
    both = [pointing, *downs]
    return frozen(both, "No order works: the pair in between would fail to write") if order == "frozen" else both


def _usable(situation: Situation) -> tuple[MigrationFolder, MigrationState]:
    """The folder and a state to start from. Refuses what a down must not start from."""
    target, folder, state = situation.target, situation.folder, situation.state
    if folder is None or state is None:
        raise RollbackError(
            f"The state of the migrations is unknown: {situation.unread or 'it was not read'}",
            target=target,
            state="nothing was done",
            next="roll back the application alone, or mend the connection and plan again",
        )
    if situation.pooled:
        raise RollbackError(
            "The database URL goes through a transaction pooler, where locks and DDL misbehave silently",
            target=target,
            state="nothing was done",
            next=USE,
        )
    if state.dirty:
        raise RollbackError(
            f"The state table says version {state.version}, dirty: that migration may be un-, partly or fully applied",
            target=target,
            state="nothing was done",
            next=f"compare the schema with what {state.version} brings; finish it or undo it by hand; then let "
            f"{state.tool} say so (`migrate force {state.version}` or the version below), and plan again",
        )
    if state.drift:
        raise RollbackError(
            f"The state table says version {state.version}, of which {folder.path.name} has no file",
            target=target,
            state="nothing was done",
            next="check out the revision that was deployed, which has it, and plan again",
        )
    return folder, state


def _require_older(state: MigrationState, folder: MigrationFolder, to: int, target: str) -> None:
    below = ", ".join(str(version) for version in reversed(state.applied[:-1]))
    choices = f"name an older one: {below}" if below else "there is no older version; restore from a backup"
    if state.version is None or to >= state.version:
        raise RollbackError(
            f"There is nothing to roll back: the schema is at {state.said}, and the target is {to}",
            target=target,
            state="nothing was rolled back",
            next=choices,
        )
    if to not in folder.migrations:
        raise RollbackError(f"There is no migration {to}", target=target, state="nothing was done", next=choices)


def _require_applied(migrations: Sequence[Migration], state: MigrationState, target: str) -> None:
    """A down of what was never applied would undo something else."""
    skipped = [f"{m.version} ({m.name})" for m in migrations if m.version not in state.applied]
    if skipped:
        raise RollbackError(
            f"Migration {', '.join(skipped)} is not applied, although a newer one is",
            target=target,
            state="nothing was done",
            next=f"name a target above it, or let {state.tool} apply it, and plan again",
        )


def _require_downs(migrations: Sequence[Migration], target: str) -> None:
    problems = [f"{m.version} ({m.name}): {m.down_problem}" for m in migrations if m.down_problem]
    if problems:
        raise RollbackError(
            f"Migration {'; migration '.join(problems)}",
            target=target,
            state="nothing was done",
            next="restore from a backup instead (Type 3), or write the down and try it on a copy",
        )


def _application_for(situation: Situation, to: int, deployment: str | None) -> Deployment | None:
    """The deployment to go to; None where the live one may stay."""
    releases = situation.releases
    if deployment is None and releases.live is None:
        return None
    running = releases.running
    if deployment is None:
        stays = running.schema_version is None or running.schema_version <= to
        return None if stays else deployment_for(releases, to)
    chosen = named_deployment(releases, deployment)
    if chosen.schema_version is not None and chosen.schema_version > to:
        raise RollbackError(
            f"Deployment {said(chosen)} needs a newer schema than {to}",
            target=situation.target,
            state="nothing was done",
            next=f"name another: {listed([d for d in releases.earlier if (d.schema_version or 0) <= to])}",
        )
    return None if chosen.id == running.id else chosen


def _why_application(running: Deployment, to: int, *, known: bool) -> str:
    if known:
        return f"The live code and schema {to} do not work together: see the reasons"
    if running.schema_version is not None and running.schema_version > to:
        return f"The live code was built for schema {running.schema_version} and would fail on {to}"
    return "It was asked for"


def _down(migration: Migration, folder: MigrationFolder, to: int) -> Step:
    assert migration.down is not None
    below = folder.before(migration.version)
    return Step(
        id=f"run-down-{migration.version}",
        action=RunDown(migration.version, below, migration.down.file, migration.down.sha256, folder.written(below)),
        what=f"Run {migration.down.file} and set the state table to {below}, in one transaction",
        why=f"The target is {to}; downs run from the newest to the oldest",
        expected="It waits for its locks half a second at a time, names who is in its way, and tries again",
        verify=f"The state table says version {below}, clean{_own_verify(folder, below, to)}",
        undo=f"Apply {migration.up.file if migration.up else f'migration {migration.version}'} again with the "
        "migration tool; what the down destroyed is salvaged, and goes back by `toolkit salvage put-back`",
    )


def _own_verify(folder: MigrationFolder, below: int | None, to: int) -> str:
    """The migration tool's own verify script, at the last down."""
    script = folder.migrations[below].verify if below is not None and below == to else None
    return f"; at the end {script.file} is run, and rolled back" if script else ""


def _hidden(migrations: Sequence[Migration]) -> list[str]:
    return [
        f"The down of migration {m.version} runs code (line {found[0].line}): its text does not tell what that does."
        for m in migrations
        if m.down and (found := hidden_code(m.down.statements))
    ]


def _doubts(state: MigrationState) -> list[str]:
    """What the state table says that speaks against touching it now."""
    held = [f"The migration tool's lock is held by {holder}." for holder in state.locked_by]
    return held + [f"{problem}." for problem in state.problems]


def _summary(
    situation: Situation, state: MigrationState, to: int, chosen: Deployment | None, pairing: Pairing | None
) -> str:
    when = {"migration-first": "afterwards", "frozen": "first, writes frozen"}.get(pairing.order if pairing else "")
    also = f", and the application to {chosen.id} {when or 'first'}" if chosen else ""
    return f"Migration rollback of {situation.service}: {state.version} → {to}{also}"

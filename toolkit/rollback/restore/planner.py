"""Type 3, the restore: which source, which way, what is lost and what is carried over, step by step.

Pure: it decides from what was read and returns a `Plan`. Writes go on while the copy is restored beside; they stop for
the length of the swap alone, unless a freeze is asked for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from toolkit.adapters.poolers import USE
from toolkit.errors import RollbackError
from toolkit.rollback.damage import Damage
from toolkit.rollback.migrations import Migration, MigrationFolder
from toolkit.rollback.plan import (
    BackUp,
    FreezeWrites,
    MigrateUp,
    Plan,
    ReleaseEffects,
    ReleaseWrites,
    RestoreBeside,
    Step,
    SwapIn,
)
from toolkit.rollback.platform_recovery import PlatformRecovery
from toolkit.rollback.restore.names import damaged_name, mark_of, restored_name
from toolkit.rollback.restore.source_reading import Source
from toolkit.rollback.restore.sources import Damaged
from toolkit.rollback.restore.ways import ChosenWay
from toolkit.rollback.situation import Situation


def plan_restore(
    situation: Situation,
    source: Source,
    way: ChosenWay,
    damage: Sequence[Damage],
    *,
    incident: str,
    damaged: Damaged | None = None,
    wanted_version: int | None = None,
    freeze: bool = False,
    backup_folder: str = "",
    platform: PlatformRecovery | None = None,
    now: datetime | None = None,
    reasons: Sequence[str] = (),
    turn: int = 1,
    queue: str | None = None,
) -> Plan:
    """The plan of a restore from `source` by `way`, without what `damage` names.

    `wanted_version`: the schema to end at; None: that of the backup, or the live one where the schema stays.
    `backup_folder` '' plans no emergency backup (one was made). `turn` as in `Plan`. `queue`: the schema of the job
    queue that the swap holds, None where there is none. Raises RollbackError for a pooled connection, an unknown
    server, and migrations that are not there to be applied again.
    """
    _require(situation)
    mark = mark_of(incident, str(source.path), turn)
    ups = _ups(situation, source, way, wanted_version)
    steps = [
        *([_freeze()] if freeze else []),
        *([_back_up(backup_folder)] if backup_folder else []),
        _beside(source, way, mark),
        _swap(source, way, damage, mark),
        *(_up(each, situation) for each in ups),
        *([_release()] if freeze else []),
        *([_effects(source, queue)] if queue else []),
    ]
    return Plan(
        kind="restore",
        service=situation.service,
        target=situation.target,
        server=situation.server,
        summary=_summary(situation, source, ups),
        steps=tuple(steps),
        destroys=tuple(_lost(source, damage, way)),
        warnings=(*way.warnings, *_again(turn), *_unknown(source, damage, damaged)),
        reasons=(*reasons, *way.reasons, *_told(source, damage, damaged, platform, now)),
        turn=turn,
    )


def _require(situation: Situation) -> None:
    if situation.server is None:
        raise RollbackError(
            f"The database is unknown: {situation.unread or 'it was not read'}",
            target=situation.target,
            state="nothing was done",
            next="mend the connection and plan again; a platform's own recovery needs none",
        )
    if situation.pooled:
        raise RollbackError(
            "The database URL goes through a transaction pooler, where locks and DDL misbehave silently",
            target=situation.target,
            state="nothing was done",
            next=USE,
        )


def _ups(situation: Situation, source: Source, way: ChosenWay, wanted: int | None) -> list[Migration]:
    """The migrations from the backup's version up to the wanted one, the oldest first."""
    if wanted is None or way.way == "reload" or source.version is None or wanted <= source.version:
        return []
    folder: MigrationFolder | None = situation.folder
    there = [] if folder is None else [v for v in folder.versions if source.version < v <= wanted]
    migrations = [] if folder is None else [folder.migrations[version] for version in there]
    if folder is None or wanted not in there or any(each.up is None for each in migrations):
        raise RollbackError(
            f"The migrations from {source.version} to {wanted} are not all in the folder",
            target=situation.target,
            state="nothing was done",
            next="check out the revision that has them, or end at the backup's version",
        )
    return migrations


# Steps ---------------------------------------------------------------------------------------------------------


def _freeze() -> Step:
    return Step(
        id="freeze-writes",
        action=FreezeWrites(),
        what="Take the write privileges of the application's roles away, and keep them to be given back",
        why="It was asked for: nothing is written until somebody has looked",
        expected="The service answers, and refuses what writes",
        verify="The catalog, and a write attempt as the application",
        undo="Release the writes",
    )


def _release() -> Step:
    return Step(
        id="release-writes",
        action=ReleaseWrites("everything"),
        what="Give the write privileges back",
        why="The restored data is live",
        expected="Webhooks are accepted again",
        verify="The catalog, and new rows",
        undo="Freeze again",
    )


def _effects(source: Source, queue: str) -> Step:
    return Step(
        id="release-effects",
        action=ReleaseEffects(str(source.path), queue),
        what=f"Let the jobs of {queue} be handed out again, which the swap holds",
        why="Nothing leaves the service before the restored data is in place: a reminder is not sent twice",
        expected="Waiting jobs have their times back. It stops where jobs were brought back or could not be decided",
        verify="No job is held any more",
        undo="--abort releases them too",
    )


def _back_up(folder: str) -> Step:
    return Step(
        id="back-up",
        action=BackUp(folder),
        what=f"Make the emergency backup in {folder}",
        why="What is there now, damaged as it is, must be there afterwards",
        expected="A folder that appears when it is whole",
        verify="Every file is read again",
        undo="It changes nothing",
    )


def _beside(source: Source, way: ChosenWay, mark: str) -> Step:
    where = "the database" if way.way == "databases" else "schemas that begin with"
    return Step(
        id="restore-beside",
        action=RestoreBeside(str(source.path), source.sha256, way.way),
        what=f"Restore {source} into {where} {restored_name(mark)}, beside production, and verify it there",
        why="Production goes on serving meanwhile, and a copy that is not right is found before it is live",
        expected="It takes as long as a restore; production goes on. The disk must hold the data twice",
        verify="Rows by fingerprint, every constraint, index and object, against what was backed up",
        undo="The copy is dropped",
    )


def _swap(source: Source, way: ChosenWay, damage: Sequence[Damage], mark: str) -> Step:
    what, expected, undo = {
        "schemas": (
            f"Swap the schemas in one transaction, and carry over what was acknowledged since {source.name}",
            "Writes wait for a second and the merge; connections stay. It tries again where a lock takes 200 ms",
            f"--abort, or `toolkit restore put-back {mark}`, where nothing was written since; otherwise a restore of "
            "the emergency backup",
        ),
        "databases": (
            f"Rename the databases, and carry over what was acknowledged since {source.name} in between",
            "Every connection is ended once; nobody can connect while what changed in the last minutes is caught up",
            f"--abort, or `toolkit restore put-back {mark}`, where nothing was written since; otherwise a restore of "
            "the emergency backup",
        ),
        "reload": (
            f"Put the rows of {_named(damage)} back in place, in one transaction, from {source.name}",
            "Writes wait for the merge; reading goes on",
            f"By hand: the damaged rows are kept in {damaged_name(mark)}_… and can be put back by their keys",
        ),
    }[way.way]
    return Step(
        id="swap-in",
        action=SwapIn(str(source.path), way.way, tuple(damage)),
        what=what,
        why=f"Everything since is carried over by key, but for the damage: {_said(damage)}",
        expected=expected,
        verify=f"The target's own record of the swap; the damaged data stands as {damaged_name(mark)}",
        undo=undo,
    )


def _up(migration: Migration, situation: Situation) -> Step:
    assert migration.up is not None
    return Step(
        id=f"migrate-up-{migration.version}",
        action=MigrateUp(migration.version, migration.up.file, migration.up.sha256),
        what=f"Apply {migration.up.file} again",
        why="The backup is of an older version than the one that is wanted",
        expected="As when it was applied first",
        verify=f"The state table says version {migration.version}, clean",
        undo="Its down, where it has one",
    )


# Sentences -----------------------------------------------------------------------------------------------------


def _summary(situation: Situation, source: Source, ups: Sequence[Migration]) -> str:
    then = f", then up to version {ups[-1].version}" if ups else ""
    return f"Restore of {situation.service} from {source}{then}"


def _lost(source: Source, damage: Sequence[Damage], way: ChosenWay) -> list[str]:
    since = f" since {source.taken_at:%Y-%m-%d %H:%M:%S} UTC" if source.taken_at else " since it was taken"
    lost = [
        f"What was written to {each.table}{_columns(each)}{since} by the damage, or cannot be told from it."
        for each in damage
    ]
    if way.way != "reload":
        lost.append("Columns and tables that only the damaged schema has: their values stay with the damaged data.")
    return lost


def _again(turn: int) -> list[str]:
    return [] if turn == 1 else ["A restore was ended in this incident before: this is another one, of its own."]


def _unknown(source: Source, damage: Sequence[Damage], damaged: Damaged | None) -> list[str]:
    found = []
    if not damage:
        found.append(
            "No damage is named: whatever differs from the backup counts as acknowledged and is carried over, "
            "wrong values too."
        )
    if damaged is not None and damaged.at is None:
        found.append(f"When the damage began is unknown: {damaged.why}.")
    if source.taken_at is None:
        found.append("When the dump was taken is unknown: that it is from before the damage is for you to know.")
    if source.kind != "ours":
        found.append("It is no backup of ours: only the restore itself tells whether it is whole.")
    found.append("What neither side can decide is listed row by row in toolkit.conflict, to be looked at.")
    return found


def _told(
    source: Source,
    damage: Sequence[Damage],
    damaged: Damaged | None,
    platform: PlatformRecovery | None,
    now: datetime | None,
) -> list[str]:
    told = [f"Carried over: rows and changes that were acknowledged since the backup, but for {_said(damage)}."]
    if damaged is not None and damaged.at is not None:
        told.append(f"The damage began at {damaged.at:%Y-%m-%d %H:%M:%S} UTC: {damaged.why}.")
    if now is not None and source.taken_at is not None:
        told.append(f"The backup is {_age(now - source.taken_at)} old; acknowledged writes since then are not lost.")
    if platform is not None:
        told.append(_beside_ours(platform, damaged))
    return told


def _beside_ours(platform: PlatformRecovery, damaged: Damaged | None) -> str:
    fits = (
        "" if damaged is None or damaged.at is None or platform.covers(damaged.at) else ", which the damage is not in"
    )
    minutes = platform.worst_loss.total_seconds() / 60
    return (
        f"The platform can go back to any moment from {platform.reach}{fits}: then everything after that moment is "
        f"lost, up to {minutes:g} minutes more, and the project is unreachable while it runs. Ours loses nothing "
        "acknowledged. To take the platform's: --backup-restore=platform:TIME."
    )


def _age(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours * 60:.0f} minutes" if hours < 1 else f"{hours:.1f} hours"


def _said(damage: Sequence[Damage]) -> str:
    return "; ".join(f"{each.table}{_columns(each)} {each.verb}" for each in damage) or "nothing"


def _named(damage: Sequence[Damage]) -> str:
    return ", ".join(sorted({each.table for each in damage})) or "every table"


def _columns(damage: Damage) -> str:
    return f" ({', '.join(damage.columns)})" if damage.columns else ""

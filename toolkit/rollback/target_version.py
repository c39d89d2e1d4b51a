"""To which version to go back: the newest at which a full verification passed, as recorded, and never a constant."""

from collections.abc import Sequence
from dataclasses import replace

from toolkit.adapters.postgres import StablePoint
from toolkit.adapters.state_tables import number_of, same_version
from toolkit.errors import RollbackError, UsageError
from toolkit.rollback.migrations import MigrationFolder
from toolkit.rollback.state_tables import MigrationState

KNOWN = 10  # versions that an error lists


def reachable_versions(state: MigrationState, folder: MigrationFolder) -> list[int]:
    """The versions below the current one that the downs lead to, the newest first."""
    found: list[int] = []
    for version in reversed(state.applied):
        below = folder.before(version)
        if below is None or folder.migrations[version].down_problem:
            break
        found.append(below)
    return found


def version_of(point: StablePoint, folder: MigrationFolder) -> int | None:
    """Which version of the folder a stable point is of; None when that cannot be told.

    What was recorded as a number may be a count, which moves with each file that is put in between: the tool's own word
    counts, where one was kept.
    """
    if point.label is None:
        return point.version
    named = [v for v in folder.migrations if same_version((point.version, point.label), (v, folder.written(v)))]
    if point.version in named:
        return point.version
    return named[0] if len(named) == 1 else None


def named_version(text: str, folder: MigrationFolder) -> int:
    """The version of the folder that a person means by the tool's word for it. UsageError for none, and for several.

    The same digits may be one version's name and another one's place among those that have no number: the name counts.
    """
    same = [v for v in folder.migrations if text in (folder.written(v), folder.migrations[v].label)]
    if not same and text.isdecimal() and all(number_of(m.label) == v for v, m in folder.migrations.items()):
        same = [v for v in folder.versions if v == int(text)]
    if not same:
        same = [m.version for m in folder.migrations.values() if text in (m.name, f"{m.label}_{m.name}")]
    if len(same) == 1:
        return same[0]
    known = ", ".join(folder.migrations[each].label for each in folder.versions[-KNOWN:])
    raise UsageError(
        f"{text!r} is no version to go back to" if not same else f"{text!r} is the name of {len(same)} versions",
        state="nothing was done",
        next=f"name a version, or 'last-stable'; the newest are {known}",
    )


def last_stable(points: Sequence[StablePoint], state: MigrationState, folder: MigrationFolder) -> StablePoint:
    """The newest recorded stable point below the current version that the downs lead to, in the folder's version.

    Raises RollbackError, listing what could be chosen by hand, when nothing of the kind was recorded.
    """
    reachable = reachable_versions(state, folder)
    placed = [replace(point, version=at) for point in points if (at := version_of(point, folder)) is not None]
    usable = [point for point in placed if point.version in reachable]
    if usable:
        return max(usable, key=lambda point: (point.version, point.verified_at))
    recorded = sorted({(point.version, point.label or str(point.version)) for point in points}, reverse=True)
    said = f"recorded are {', '.join(label for _, label in recorded)}" if recorded else "none was ever recorded"
    raise RollbackError(
        f"There is no stable version to go back to from {state.said}: {said}",
        state="nothing was done",
        next=f"name a version that the downs lead to: {', '.join(str(folder.written(each)) for each in reachable)}"
        if reachable
        else "the downs lead nowhere from here: restore from a backup",
    )

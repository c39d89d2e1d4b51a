"""To which version to go back: the newest at which a full verification passed, as recorded, and never a constant."""

from collections.abc import Sequence

from toolkit.adapters.postgres import StablePoint
from toolkit.errors import RollbackError
from toolkit.rollback.migrations import MigrationFolder
from toolkit.rollback.state_tables import MigrationState


def reachable_versions(state: MigrationState, folder: MigrationFolder) -> list[int]:
    """The versions below the current one that the downs lead to, the newest first."""
    found: list[int] = []
    for version in reversed(state.applied):
        below = folder.before(version)
        if below is None or folder.migrations[version].down_problem:
            break
        found.append(below)
    return found


def last_stable(points: Sequence[StablePoint], state: MigrationState, folder: MigrationFolder) -> StablePoint:
    """The newest recorded stable point below the current version that the downs lead to.

    Raises RollbackError, listing what could be chosen by hand, when nothing of the kind was recorded.
    """
    reachable = reachable_versions(state, folder)
    usable = [point for point in points if point.version in reachable]
    if usable:
        return max(usable, key=lambda point: (point.version, point.verified_at))
    recorded = sorted({point.version for point in points}, reverse=True)
    said = f"recorded are {', '.join(map(str, recorded))}" if recorded else "none was ever recorded"
    raise RollbackError(
        f"There is no stable version to go back to from {state.said}: {said}",
        state="nothing was done",
        next=f"name a version that the downs lead to: {', '.join(map(str, reachable))}"
        if reachable
        else "the downs lead nowhere from here: restore from a backup",
    )

"""The steps that freeze writes around others, for planners. Pure; what they do is the steps' business."""

from collections.abc import Sequence

from toolkit.rollback.plan import FreezeWrites, ReleaseWrites, Step

MEANWHILE = "What is not written meanwhile cannot be lost; senders keep what was not acknowledged and send it again"


def frozen(steps: Sequence[Step], why: str = MEANWHILE) -> list[Step]:
    """These steps with writes frozen before the first and given back after the last."""
    return [freeze_writes(why), *steps, release_everything()]


def freeze_writes(why: str = MEANWHILE) -> Step:
    """Take the write privileges away."""
    return Step(
        id="freeze-writes",
        action=FreezeWrites(),
        what="Take the write privileges of the application's roles away, and end their transactions that have written",
        why=why,
        expected="Writes fail at once, reads go on. The privileges are kept on the target, to be given back exactly",
        verify="The catalog says so, a write attempt as the application fails, and no row comes any more",
        undo="--resume goes on and lifts it; --abort lifts it now",
    )


def release_everything() -> Step:
    """Give all of them back."""
    return Step(
        id="release-everything",
        action=ReleaseWrites("everything"),
        what="Give write privileges back: everything",
        why="Application and schema are a pair again",
        expected="The first writes come within seconds",
        verify="The privileges are exactly those of before",
        undo="--abort leaves them given",
    )

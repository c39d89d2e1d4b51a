"""Carrying over, inside a swap, what was acknowledged since the backup: by key, without what is damaged.

`merge` does it under the swap's locks. What it cannot decide stands row by row in the target's `toolkit.conflict`.
"""

from toolkit.rollback.merge.config import MergeConfig, merge_config
from toolkit.rollback.merge.merging import merge, prepare_merge
from toolkit.rollback.merge.outcome import LeftColumn, LeftTable, Merged, TableMerged
from toolkit.rollback.merge.proposing import propose_damage
from toolkit.rollback.merge.queue import (
    COUNTED_AT_MOST,
    held_jobs,
    hold_effects,
    hold_queue,
    queue_is_held,
    release_queue,
    undecided_jobs,
)

__all__ = [
    "COUNTED_AT_MOST",
    "LeftColumn",
    "LeftTable",
    "MergeConfig",
    "Merged",
    "TableMerged",
    "held_jobs",
    "hold_effects",
    "hold_queue",
    "merge",
    "merge_config",
    "prepare_merge",
    "propose_damage",
    "queue_is_held",
    "release_queue",
    "undecided_jobs",
]

"""What a merge must know of the service beyond its catalogs: what is not merged, what is a queue, what is a key.

Read from the playbook; a value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.adapters.readings import split_name
from toolkit.playbook import Playbook


@dataclass(frozen=True)
class MergeConfig:
    """Tables are `schema.table` with the application's schema names.

    `mark` names the incident in `toolkit.conflict`. `excluded` stay as they were restored (the state table). `keys`
    names the columns that identify a row where a table has no primary key. `most_listed`: of rows that a deletion
    damage brings back at most so many are listed for each table.
    """

    mark: str = ""
    excluded: tuple[str, ...] = ()
    queue_schema: str | None = None
    keys: Mapping[str, tuple[str, ...]] | None = None
    most_listed: int = 10_000

    def marked(self, mark: str) -> "MergeConfig":
        """The same, for this incident."""
        return MergeConfig(mark, self.excluded, self.queue_schema, self.keys, self.most_listed)


def merge_config(playbook: Playbook, mark: str = "") -> MergeConfig:
    """As the playbook has it: its state table is not merged (none that is known where none is named), its queue is."""
    database = playbook.database
    return MergeConfig(
        mark=mark,
        excluded=(".".join(split_name(database.state_table)),) if database.state_table else (),
        queue_schema=database.queue_schema,
    )

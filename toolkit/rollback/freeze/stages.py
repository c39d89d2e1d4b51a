"""In which order frozen writes are given back, and what belongs to which stage. Pure.

    webhooks ─► reminders ─► everything

The first stage is what an event's arrival needs, and no more: rows may be added and changed there, not deleted, so that
a clean-up cannot begin while somebody still looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from toolkit.adapters.readings import split_name
from toolkit.playbook import Playbook
from toolkit.rollback.plan import Stage

Kind = Literal["schema", "table", "column", "sequence", "role"]

STAGES: tuple[Stage, ...] = get_args(Stage)
EVERY_TABLE = "*"
ARRIVING = ("INSERT", "UPDATE")


@dataclass(frozen=True)
class Stages:
    """Tables of the first two stages, as (schema, table); '*' for every table of a schema."""

    webhooks: frozenset[tuple[str, str]] = frozenset()
    reminders: frozenset[tuple[str, str]] = frozenset()

    def of(self, kind: Kind, schema: str, name: str, privilege: str) -> Stage:
        """When this privilege is given back. A sequence is named by the table that it serves, itself without one."""
        if kind == "role":
            return "webhooks"  # who logs in as the tables' owner writes all or nothing
        if kind == "schema":
            return "everything"
        if self._holds(self.reminders, schema, name):
            return "reminders"
        if self._holds(self.webhooks, schema, name) and (kind == "sequence" or privilege in ARRIVING):
            return "webhooks"
        return "everything"

    @staticmethod
    def _holds(tables: frozenset[tuple[str, str]], schema: str, name: str) -> bool:
        return (schema, name) in tables or (schema, EVERY_TABLE) in tables


def reached(stage: Stage) -> Sequence[Stage]:
    """The stages up to this one."""
    return STAGES[: STAGES.index(stage) + 1]


def stages_of(playbook: Playbook) -> Stages:
    """As the playbook says, or as its other tables tell."""
    named, names = playbook.freeze.stages, playbook.database
    queue = (f"{names.queue_schema}.{EVERY_TABLE}",) if names.queue_schema else ()
    return Stages(
        webhooks=frozenset(map(split_name, named.get("webhooks") or _arriving(playbook))),
        reminders=frozenset(map(split_name, named.get("reminders") or queue)),
    )


def _arriving(playbook: Playbook) -> Sequence[str]:
    """What an event's arrival writes: its own table, its traces, and what references these."""
    found = [playbook.database.events_table, *playbook.verification.traces]
    for column, referenced in playbook.database.references.items():
        if referenced.rpartition(".")[0] in found:
            found.append(column.rpartition(".")[0])
    return found

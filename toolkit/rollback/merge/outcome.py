"""What a merge did, table by table, as numbers and names. Values only: no key, no content of any row.

The rows that neither side could decide are listed in the target's `toolkit.conflict`, see `conflicts`.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LeftColumn:
    """A column that only the damaged side has, and how many values of it are left behind with the damaged table."""

    table: str
    column: str
    values: int


@dataclass(frozen=True)
class LeftTable:
    """A table that only the damaged side has, and how many rows are left behind with it."""

    table: str
    rows: int


@dataclass(frozen=True)
class TableMerged:
    """One table, by its application's name. All are rows.

    `inserted`, `changed` and `deleted` since the backup and carried over; `kept` are those that the damage deleted and
    the backup brings back; `refused` are damaged insertions, not carried; `conflicts` are listed. `compared`: 'key',
    'rows' (no key: as a multiset), or 'since' (only what changed after `prepare_merge`).
    """

    table: str
    compared: str
    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    kept: int = 0
    refused: int = 0
    conflicts: int = 0


@dataclass(frozen=True)
class Merged:
    """All tables that both sides have, what stays behind, how many sequences were advanced, and what to know."""

    tables: tuple[TableMerged, ...] = ()
    left_columns: tuple[LeftColumn, ...] = ()
    left_tables: tuple[LeftTable, ...] = ()
    sequences: int = 0
    notes: tuple[str, ...] = ()

    @property
    def conflicts(self) -> int:
        """Conflicts listed in this merge, in rows and columns."""
        return sum(table.conflicts for table in self.tables)

    def of(self, table: str) -> TableMerged:
        """One table's numbers, by `table` (in public) or `schema.table`. KeyError when it was not merged."""
        wanted = table if "." in table else f"public.{table}"
        return next((each for each in self.tables if each.table == wanted), None) or _missing(table)

    def to_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


def _missing(table: str) -> TableMerged:
    raise KeyError(table)

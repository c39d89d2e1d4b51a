"""What a migration or a mistake has damaged: tables, columns, a condition, the transactions that did it. A value.

A restore carries over what was acknowledged since the backup; this says which of the live rows must not be carried.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Damage:
    """Damaged rows of one table.

    `table` is `table` or `schema.table`. `columns` are those whose values are wrong; () means whole rows. `condition`
    is SQL over the table's columns, as the row was before the damage or is after it; None: every row. `xids` are the
    transactions that did it, as `xmin` shows them (text of a 32-bit xid); () where they are not known. `verb`: what was
    done to the rows. `written`: for a column of `columns`, what the damage wrote, as SQL over the row as it was before.
    """

    table: str
    columns: tuple[str, ...] = ()
    condition: str | None = None
    xids: tuple[str, ...] = ()
    verb: str = "overwritten"  # or 'deleted', 'inserted'
    written: tuple[tuple[str, str], ...] = ()

    @property
    def is_told(self) -> bool:
        """Whether its values can be told from those that somebody wrote afterwards."""
        if self.verb != "overwritten" or self.xids:
            return True
        return bool(self.columns) and set(self.columns) <= set(dict(self.written))


@dataclass(frozen=True)
class Proposal:
    """A damage to confirm, `evidence` as sentences, and about how many rows it would be; None: not known.

    `certain`: a migration's statement says so, the transaction that wrote the rows changed the schema too, or the
    playbook rules it out. Without that it may as well be lawful work on many rows, and is no damage until somebody says
    so.
    """

    damage: Damage
    evidence: tuple[str, ...]
    rows: int | None
    certain: bool


def told_on_a_copy(damage: Damage) -> Damage | None:
    """The same damage where its transactions mean nothing: every row of a copy was written by the copying. None where
    it is told by its transactions alone."""
    if not damage.xids:
        return damage
    bare = replace(damage, xids=())
    told = bare.is_told if damage.verb == "overwritten" else damage.condition is not None
    return bare if told else None

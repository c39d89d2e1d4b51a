"""The rules of a merge as SQL: which side has the right value, for each column, told from the damage. Pure.

A query that uses them has `d`, the damaged (live) row, and `r`, the restored one; either may be missing. The rules:
  d only  inserted since the backup: carried, unless the damage inserted it
  r only  deleted since: deleted, unless the damage deleted it
  both    the live value, except in a damaged column: there the restored value where the damage wrote last, which the
          row's xmin tells, or where the transactions are not known, that the value is what the damage wrote
What neither side decides keeps its live value and gets a reason (see `conflicts`). A condition is looked at on the row
as it is, as it was in the backup, and as the damage met it (damaged columns from the backup, the others live); where
somebody has changed a column that it reads, it may have held in between.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from toolkit.adapters.postgres import sql
from toolkit.errors import UsageError
from toolkit.rollback.damage import Damage
from toolkit.rollback.merge.conflicts import JOB_STATE, NO_RIGHT_VALUE, OLDER, WRITTEN_AFTER
from toolkit.rollback.merge.tables import Column, Table
from toolkit.rollback.sql_lexer import Kind, SqlError, statements, tokens

RESTORED = "restored"
TRUE, FALSE, NULL = sql.SQL("true"), sql.SQL("false"), sql.SQL("NULL")
_CASE, _WHEN, _END = sql.SQL("CASE "), sql.SQL("WHEN {} THEN {} "), sql.SQL("END")


def expression(text: str, what: str) -> sql.Composable:
    """A person's or a migration's SQL as one expression in brackets. UsageError when it is anything else."""
    try:
        found = statements(f"SELECT ({text}\n)")
        depth, symbols = 0, [token.text for token in tokens(text) if token.kind is Kind.SYMBOL]
    except SqlError:
        found, symbols = [], []
    for symbol in symbols:
        depth += {"(": 1, ")": -1}.get(symbol, 0)
        if depth < 0:
            found = []
    if len(found) != 1 or ";" in symbols or not text.strip():
        raise UsageError(f"{what} is not one SQL expression", state="nothing was done", next="correct the damage")
    return sql.SQL("({}\n)").format(sql.SQL(text))


def names_in(text: str) -> frozenset[str]:
    """All names that an expression mentions, columns among them."""
    return frozenset(token.text for token in tokens(text) if token.is_name)


def cases(pairs: Iterable[tuple[sql.Composable, sql.Composable]]) -> sql.Composable:
    """CASE WHEN … THEN … END; NULL without any."""
    parts = [_WHEN.format(condition, value) for condition, value in pairs]
    return sql.Composed([_CASE, *parts, _END]) if parts else NULL


@dataclass(frozen=True)
class Rules:
    """One table's. `since`: only rows written after the damage are looked at.

    `archive` is given for the queue's table of jobs: the live table of those that are over.
    """

    table: Table
    since: bool = False
    archive: sql.Composable | None = None

    @cached_property
    def overwriting(self) -> tuple[Damage, ...]:
        return tuple(each for each in self.table.damage if each.verb == "overwritten")

    @cached_property
    def damaged(self) -> frozenset[str]:
        """Columns that some damage has overwritten."""
        return frozenset(name for each in self.overwriting for name in self.columns_of(each))

    def columns_of(self, damage: Damage) -> tuple[str, ...]:
        values = [column.name for column in self.table.values]
        return tuple(name for name in values if not damage.columns or name in damage.columns)

    # Values ---------------------------------------------------------------------------------------------------------

    def live(self, column: Column) -> sql.Composable:
        """The damaged row's value in the restored column's type; NULL where that type does not know it."""
        value = sql.SQL("d.{}").format(column.identifier)
        if column.same:
            return value
        return sql.SQL("CASE WHEN {fits} THEN {value}::text::{type} END").format(
            fits=self.fits(column), value=value, type=_type(column)
        )

    def fits(self, column: Column) -> sql.Composable:
        """Whether the restored column's type knows the live value."""
        value = sql.SQL("d.{}").format(column.identifier)
        if column.same:
            return TRUE
        if column.enum:
            labels = sql.SQL("enum_range(NULL::{})::text[]").format(_type(column))
            return sql.SQL("({value} IS NULL OR {value}::text = ANY ({labels}))").format(value=value, labels=labels)
        return sql.SQL("({value} IS NULL OR pg_input_is_valid({value}::text, {type}))").format(
            value=value, type=sql.Literal(column.type)
        )

    def row(self, values: str) -> sql.Composable:
        """All columns by name: `live`, as `restored`, or as the damage met it (`before`), for an expression to read."""
        parts = []
        for column in self.table.columns:
            old = values == "restored" or (values == "before" and column.name in self.damaged)
            parts.append(_as(sql.SQL("r.{}").format(column.identifier) if old else self.live(column), column.name))
        alone = {"d": self.table.only_damaged, "r": self.table.only_restored}
        for side, names in alone.items():
            parts += [_as(sql.SQL("{}.{}").format(sql.Identifier(side), sql.Identifier(name)), name) for name in names]
        return sql.SQL(", ").join(parts)

    def over(self, said: sql.Composable, values: str) -> sql.Composable:
        """An expression's value over such a row."""
        return sql.SQL("(SELECT {said} FROM (SELECT {row}) AS {name})").format(
            said=said, row=self.row(values), name=sql.Identifier(self.table.short)
        )

    # Who wrote it ---------------------------------------------------------------------------------------------------

    def wrote_last(self, damage: Damage) -> sql.Composable:
        """Whether the damage was the last to write the live row. False where its transactions are not known."""
        if not damage.xids:
            return FALSE
        return sql.SQL("d.xmin = ANY ({}::xid[])").format(sql.Literal(list(damage.xids)))

    def holds(self, damage: Damage, values: str) -> sql.Composable:
        """Whether its condition holds for a row with these values."""
        if damage.condition is None:
            return TRUE
        said = expression(damage.condition, f"The condition for {damage.table}")
        return sql.SQL("({} IS TRUE)").format(self.over(said, values))

    def held(self, damage: Damage) -> sql.Composable:
        """Whether it holds for a row that both sides have, in any of its states."""
        if damage.condition is None:
            return TRUE
        states = ["before", "restored"]
        states += ["live"] if names_in(damage.condition) & self.damaged else []
        return sql.SQL("({})").format(sql.SQL(" OR ").join(self.holds(damage, state) for state in states))

    def may_have_held(self, damage: Damage) -> sql.Composable:
        """Whether somebody has changed a column that the condition reads."""
        read = names_in(damage.condition or "")
        changed = [self.differs(column) for column in self.table.values if column.name in read]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(changed)) if changed else FALSE

    def differs(self, column: Column) -> sql.Composable:
        return sql.SQL("{} IS DISTINCT FROM {}").format(column.comparable("d"), column.comparable("r"))

    def shows(self, damage: Damage, column: Column, values: str) -> sql.Composable:
        """Whether the live value may be what the damage wrote. True where that is not known."""
        written = dict(damage.written).get(column.name)
        if written is None or (values == "live" and names_in(written) & self.damaged):
            return TRUE
        said = expression(written, f"What was written into {damage.table}.{column.name}")
        wrote = self.over(sql.SQL("CAST({} AS {})").format(said, _type(column)), values)
        return sql.SQL("({live})::text IS NOT DISTINCT FROM ({wrote})::text").format(
            live=self.live(column), wrote=wrote
        )

    def may_show(self, damage: Damage, column: Column) -> sql.Composable:
        """The same where the row may have been written between the backup and the damage, which met a value that is
        not known. True where what the damage wrote came from such a value."""
        written = dict(damage.written).get(column.name)
        if written is not None and names_in(written) & self.damaged:
            return TRUE
        return self.shows(damage, column, "before")

    # Verdicts -------------------------------------------------------------------------------------------------------

    def verdict(self, column: Column, others_differ: sql.Composable) -> sql.Composable:
        """For a row of both sides: NULL (live), 'restored', or a reason for which it is listed."""
        found: list[tuple[sql.Composable, sql.Composable]] = []
        for damage in self.overwriting:
            if column.name in self.columns_of(damage):
                found += self._verdicts(damage, column, others_differ)
        if not found:
            return NULL
        return self._newest_state(cases(found)) if self.archive is not None else cases(found)

    def _verdicts(
        self, damage: Damage, column: Column, others: sql.Composable
    ) -> list[tuple[sql.Composable, sql.Composable]]:
        differs, shows = self.differs(column), self.shows(damage, column, "before")
        put_back = sql.SQL("CASE WHEN {others} THEN {older} WHEN {differs} THEN {restored} END").format(
            others=others, older=sql.Literal(OLDER), differs=differs, restored=sql.Literal(RESTORED)
        )
        may_show, listed = self.may_show(damage, column), sql.Literal(WRITTEN_AFTER)
        undecided = sql.SQL("CASE WHEN ({differs} OR {others}) AND {shows} THEN {reason} END").format(
            differs=differs, others=others, shows=may_show, reason=listed
        )
        may = sql.SQL("({} OR {})").format(self.held(damage), self.may_have_held(damage))
        if damage.xids or self.since:
            return [(self.wrote_last(damage), put_back), (may, undecided)]
        decided = sql.SQL("CASE WHEN {} THEN {} WHEN {} AND {} THEN {} END").format(
            shows, put_back, differs, may_show, listed
        )
        return [(self.held(damage), decided), (may, undecided)]

    def _newest_state(self, verdict: sql.Composable) -> sql.Composable:
        """For a job: the side with the newer state wins."""
        live, old = _rank("d"), _rank("r")
        return sql.SQL("""
            CASE WHEN {live} > {old} THEN CASE WHEN {verdict} IN ({restored}, {older}) THEN {reason} END
                 WHEN {live} < {old} THEN {restored}
                 ELSE {verdict} END
        """).format(
            live=live,
            old=old,
            verdict=verdict,
            restored=sql.Literal(RESTORED),
            older=sql.Literal(OLDER),
            reason=sql.Literal(JOB_STATE),
        )

    def verdict_of_new(self, column: Column) -> sql.Composable:
        """For a row that came after the backup: NULL, or a reason for which it is listed."""
        found = []
        for damage in () if self.since else self.overwriting:
            if column.name in self.columns_of(damage):
                hit = sql.SQL("({} OR {})").format(self.wrote_last(damage), self.shows(damage, column, "live"))
                found.append((hit, sql.Literal(NO_RIGHT_VALUE)))
        return cases(found)

    def fate_of_new(self) -> sql.Composable:
        """For a row that came after the backup: NULL (carried), 'damaged' (not carried), or a reason."""
        found: list[tuple[sql.Composable, sql.Composable]] = []
        for damage in self.table.damage:
            if damage.verb != "inserted":
                continue
            holds = self.holds(damage, "live")
            if damage.xids:
                found.append((self.wrote_last(damage), sql.Literal("damaged")))
                later = sql.SQL("age(d.xmin) <= age({}::xid)").format(sql.Literal(damage.xids[0]))
                found.append((later if damage.condition is None else holds, sql.Literal(WRITTEN_AFTER)))
            else:
                found.append((holds, sql.Literal(WRITTEN_AFTER if self.since else "damaged")))
        return cases(found)

    def kept(self) -> sql.Composable:
        """For a row that only the restored side has: whether the damage may have deleted it.

        Its condition is no help: the row may have been changed between the backup and the damage, and met it then. So
        every row that is gone from a table in which the damage deleted is kept, and listed.
        """
        deleting = [damage for damage in self.table.damage if damage.verb == "deleted"]
        for damage in deleting:
            self.holds(damage, "restored")  # a condition that is no expression is refused all the same
        if not deleting:
            return FALSE
        over = sql.SQL("EXISTS (SELECT FROM {} AS over WHERE over.name = r.name AND over.id = r.id)")
        return sql.SQL("NOT {}").format(over.format(self.archive)) if self.archive is not None else TRUE


def settled(rules: Rules) -> sql.Composable:
    """Whether a live row's damaged columns need no look: the only damage wrote it last, so they are put back."""
    alone = len(rules.overwriting) == 1 and rules.archive is None
    return rules.wrote_last(rules.overwriting[0]) if alone else FALSE


def row_hash(columns: Sequence[Column], side: str) -> sql.Composable:
    """The 64-bit hash of these columns of a row, equal for equal values on both sides."""
    parts = sql.SQL(", ").join(column.comparable(side) for column in columns)
    return sql.SQL("hash_record_extended(ROW({}), 0)").format(parts) if columns else sql.SQL("0::bigint")


def _rank(side: str) -> sql.Composable:
    """How far a job has come: created, retry, active, then every end alike."""
    return sql.SQL(
        "CASE {}.state::text WHEN 'created' THEN 0 WHEN 'retry' THEN 1 WHEN 'active' THEN 2 ELSE 3 END"
    ).format(sql.Identifier(side))


def _type(column: Column) -> sql.Composable:
    """As format_type spells it, which is SQL already."""
    return sql.SQL(column.type)


def _as(value: sql.Composable, name: str) -> sql.Composable:
    return sql.SQL("{} AS {}").format(value, sql.Identifier(name))

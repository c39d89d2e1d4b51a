"""What a statement of a down is about to destroy: read from its text, and resolved in the catalog as it is right then.

Asked just before the statement runs, in its transaction and under its search_path, so names mean what they will mean to
it. What a text does not tell (DO, functions, triggers, cascades of rows) is found afterwards (`compare`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.down_sql import Loss, LossKind, Name, losses
from toolkit.rollback.salvage.shapes import Picture
from toolkit.rollback.sql_lexer import Statement, Token


class How(StrEnum):
    """What goes, and so how it is put back: rows are inserted, columns of rows are updated, or both are needed."""

    ROWS = "rows"
    COLUMNS = "columns"
    BOTH = "both"


@dataclass(frozen=True)
class Spec:
    """Something to copy: these columns of a table (none named: whole rows), of the rows that `where` tells (all rows
    without). `where` is text of the down, with its own name for the table (`alias`). `temporary`: it is copied whole
    because nobody knows which rows change, and cut down to those that did when the down has run."""

    how: How
    oid: int
    columns: tuple[int, ...] = ()
    where: str = ""
    alias: str = ""
    only: bool = False
    temporary: bool = False

    @property
    def whole(self) -> bool:
        """Every row, every column."""
        return not self.columns and not self.where and not self.only


def specs_of(conn: Connection, statement: Statement, text: str, before: Picture) -> list[Spec]:
    """What this statement takes from tables that were there before the down. Objects that are not there: nothing."""
    found = list(_dedupe(_specs(conn, statement, text)))
    return [each for each in found if each.oid in before.shapes]


def _specs(conn: Connection, statement: Statement, text: str) -> Iterator[Spec]:
    first = statement.tokens[0]
    if first.is_word("delete", "update"):
        yield from _written_rows(conn, statement, text)
        return
    for loss in losses([statement]):
        if loss.kind is LossKind.ROWS:
            yield from _truncated(conn, loss, statement)
        elif loss.kind in (LossKind.COLUMN, LossKind.VALUES) and loss.column is not None:
            yield from _column(conn, loss)
        else:
            yield from _dependent(conn, loss)


def _dedupe(specs: Iterator[Spec]) -> Iterator[Spec]:
    """Whole tables first; a column of a table that goes whole is in it already."""
    found = list(specs)
    whole = {each.oid for each in found if each.whole}
    yield from {each.oid: each for each in found if each.whole}.values()
    yield from dict.fromkeys(each for each in found if not each.whole and each.oid not in whole)


def _table(conn: Connection, name: Name) -> int | None:
    """A table by its name as written, found as the server would find it. 0 would be no table's."""
    quoted = sql.Identifier(*name).as_string(conn)
    row = conn.execute(
        """
        SELECT coalesce(CASE WHEN relispartition THEN pg_partition_root(oid)::oid END, oid)::bigint
        FROM pg_class
        WHERE oid = to_regclass(%(name)s) AND relkind IN ('r', 'p')
        """,
        {"name": quoted},
    ).fetchone()
    return int(row[0]) if row else None


def _exact_table(conn: Connection, name: Name) -> int | None:
    """The same, a partition being itself."""
    quoted = sql.Identifier(*name).as_string(conn)
    row = conn.execute(
        "SELECT oid::bigint FROM pg_class WHERE oid = to_regclass(%(name)s) AND relkind IN ('r', 'p')",
        {"name": quoted},
    ).fetchone()
    return int(row[0]) if row else None


def _column(conn: Connection, loss: Loss) -> Iterator[Spec]:
    oid = _exact_table(conn, loss.name)
    if oid is None:
        yield from _dependent(conn, loss)  # ALTER TYPE … DROP ATTRIBUTE: every column of that type
        return
    row = conn.execute(
        """
        SELECT attnum FROM pg_attribute
        WHERE attrelid = %(oid)s AND attname = %(name)s AND attnum > 0 AND NOT attisdropped
        """,
        {"oid": oid, "name": loss.column},
    ).fetchone()
    if row is not None:
        yield Spec(How.COLUMNS, oid, (int(row[0]),))
        if loss.cascade:
            yield from _hanging_on(conn, "pg_class", oid, int(row[0]))


def _dependent(conn: Connection, loss: Loss) -> Iterator[Spec]:
    """The object itself, if it is a table, and every table and column that the catalog hangs on it."""
    catalog, finder = {
        LossKind.SCHEMA: ("pg_namespace", "to_regnamespace"),
        LossKind.TYPE: ("pg_type", "to_regtype"),
        LossKind.VALUES: ("pg_type", "to_regtype"),
        LossKind.TABLE: ("pg_class", "to_regclass"),
        LossKind.SEQUENCE: ("pg_class", "to_regclass"),
        LossKind.EXTENSION: ("pg_extension", ""),
    }.get(loss.kind, ("", ""))
    if not catalog:
        return
    name = sql.Identifier(*loss.name).as_string(conn) if finder else loss.name[-1]
    found = (
        sql.SQL("SELECT {}(%(name)s)::oid::bigint").format(sql.SQL(finder))
        if finder
        else sql.SQL("SELECT oid::bigint FROM pg_extension WHERE extname = %(name)s")
    )
    row = conn.execute(found, {"name": name}).fetchone()
    if row is None or row[0] is None:
        return
    if loss.kind is LossKind.TABLE:
        yield Spec(How.ROWS, int(row[0]))
    yield from _hanging_on(conn, catalog, int(row[0]), 0)


def _hanging_on(conn: Connection, catalog: str, oid: int, column: int) -> Iterator[Spec]:
    """Tables and columns that depend on an object, through whatever stands between (types, row types, domains)."""
    rows = conn.execute(
        """
        WITH RECURSIVE hanging (classid, objid, objsubid) AS (
            SELECT %(catalog)s::regclass::oid, %(oid)s::oid, %(column)s::int
            UNION
            SELECT d.classid, d.objid, d.objsubid
            FROM pg_depend d
            JOIN hanging h ON d.refclassid = h.classid AND d.refobjid = h.objid
                          AND (h.objsubid = 0 OR d.refobjsubid = h.objsubid)
            WHERE d.deptype IN ('n', 'a', 'i', 'P', 'S', 'e') AND (d.objid, d.objsubid) <> (h.objid, h.objsubid)
        )
        SELECT DISTINCT c.oid::bigint, h.objsubid
        FROM hanging h
        JOIN pg_class c ON c.oid = h.objid AND c.relkind IN ('r', 'p')
        WHERE h.classid = 'pg_class'::regclass AND (h.objid, h.objsubid) <> (%(oid)s::oid, %(column)s::int)
        ORDER BY 1, 2
        """,
        {"catalog": catalog, "oid": oid, "column": column},
    ).fetchall()
    for table, number in rows:
        yield Spec(How.COLUMNS, table, (number,)) if number else Spec(How.ROWS, table)


def _truncated(conn: Connection, loss: Loss, statement: Statement) -> Iterator[Spec]:
    oid = _exact_table(conn, loss.name)
    if oid is None:
        return
    yield Spec(How.ROWS, oid)
    if any(token.is_word("cascade") for token in statement.tokens):
        rows = conn.execute(
            """
            WITH RECURSIVE emptied (oid) AS (
                SELECT %(oid)s::oid
                UNION
                SELECT conrelid FROM pg_constraint JOIN emptied ON confrelid = emptied.oid WHERE contype = 'f'
            )
            SELECT oid::bigint FROM emptied WHERE oid <> %(oid)s::oid
            """,
            {"oid": oid},
        )
        yield from (Spec(How.ROWS, row[0]) for row in rows.fetchall())


# Rows by their WHERE ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Write:
    """The parts of a DELETE or UPDATE. `plain`: its WHERE stands on the table alone and can be taken over."""

    name: Name
    alias: str
    only: bool
    columns: tuple[str, ...]
    where: str
    plain: bool


def _written_rows(conn: Connection, statement: Statement, text: str) -> Iterator[Spec]:
    write = _read_write(statement, text)
    oid = _table(conn, write.name) if write is not None else None
    if write is None or oid is None:
        return
    numbers = _numbers(conn, oid, write.columns)
    if numbers and _rewritten_by_triggers(conn, oid):
        numbers = _all_numbers(conn, oid)
    how = How.COLUMNS if numbers else How.ROWS
    if not write.plain or (write.columns and not numbers):
        yield Spec(How.BOTH, oid, temporary=True)
    else:
        yield Spec(how, oid, numbers, write.where, write.alias, write.only)


def _numbers(conn: Connection, oid: int, names: Sequence[str]) -> tuple[int, ...]:
    rows = conn.execute(
        """
        SELECT attnum FROM pg_attribute
        WHERE attrelid = %(oid)s AND attname = ANY (%(names)s) AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
        {"oid": oid, "names": list(names)},
    ).fetchall()
    return tuple(int(row[0]) for row in rows)


def _rewritten_by_triggers(conn: Connection, oid: int) -> bool:
    """Whether a trigger may change other columns of an updated row too, as one that sets `updated_at` does."""
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = %(oid)s AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & 19 = 19)
        """,  # 1: for each row, 2: before, 16: update
        {"oid": oid},
    ).fetchone()
    return row == (True,)


def _all_numbers(conn: Connection, oid: int) -> tuple[int, ...]:
    rows = conn.execute(
        """
        SELECT attnum FROM pg_attribute
        WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        ORDER BY attnum
        """,
        {"oid": oid},
    ).fetchall()
    return tuple(int(row[0]) for row in rows)


def _read_write(statement: Statement, text: str) -> _Write | None:
    tokens = statement.tokens
    deletes = tokens[0].is_word("delete")
    at = 2 if deletes else 1
    only = len(tokens) > at and tokens[at].is_word("only")
    at += only
    name, at = _name_at(tokens, at)
    if not name:
        return None
    if at < len(tokens) and tokens[at].text == "*" and not tokens[at].is_name:
        at += 1
    if at < len(tokens) and tokens[at].is_word("as"):
        at += 1
    alias = name[-1]
    if at < len(tokens) and tokens[at].is_name and not tokens[at].is_word("set", "using", "where", "returning"):
        alias, at = tokens[at].text, at + 1
    clauses = _clauses(tokens, at)
    columns = () if deletes else tuple(_set_columns(clauses.get("set", ())))
    where = clauses.get("where", ())
    plain = not ({"from", "using"} & clauses.keys()) and not (where and where[0].is_word("current"))
    said = text[where[0].at : where[-1].end] if where else ""
    return _Write(tuple(name), alias, only, columns, said, plain)


def _name_at(tokens: Sequence[Token], at: int) -> tuple[list[str], int]:
    name: list[str] = []
    while at < len(tokens) and tokens[at].is_name:
        name.append(tokens[at].text)
        at += 1
        if at >= len(tokens) or tokens[at].text != "." or tokens[at].is_name:
            break
        at += 1
    return name, at


def _clauses(tokens: Sequence[Token], at: int) -> dict[str, list[Token]]:
    """SET, FROM, USING, WHERE and RETURNING of the statement itself, not of what stands in brackets."""
    clauses: dict[str, list[Token]] = {}
    current: list[Token] = []
    depth = 0
    for place in range(at, len(tokens)):
        token = tokens[place]
        if token.text in ("(", ")") and not token.is_name:
            depth += 1 if token.text == "(" else -1
        distinct = place > 0 and tokens[place - 1].is_word("distinct")  # IS DISTINCT FROM begins no clause
        if depth == 0 and token.is_word("set", "from", "using", "where", "returning") and not distinct:
            current = clauses.setdefault(token.text, [])
        else:
            current.append(token)
    return clauses


def _set_columns(tokens: Sequence[Token]) -> Iterator[str]:
    """The columns that a SET list gives values to: `a = …, (b, c) = …, d[1] = …`."""
    depth, naming = 0, True
    for token in tokens:
        if token.text in ("(", ")", "[", "]") and not token.is_name:
            depth += 1 if token.text in "([" else -1
        elif depth == 0 and token.text == "=" and not token.is_name:
            naming = False
        elif depth == 0 and token.text == "," and not token.is_name:
            naming = True
        elif naming and token.is_name:
            yield token.text

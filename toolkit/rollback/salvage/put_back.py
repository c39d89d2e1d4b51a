"""How what was salvaged goes back, once the migration was applied again: the SQL, and doing it.

Rows are inserted where they are missing and values updated by their key, parents before children, under the owner's
role and with the tables' own triggers off: a value goes back as it was, not as a trigger makes it, and over what the
migration puts there; so it goes back before writes are let in again. Each copy goes back once; it stays where it is
until somebody removes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import LiteralString, cast

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import RollbackError
from toolkit.rollback.salvage.find import How, Spec
from toolkit.rollback.salvage.records import Salvaged, mark_put_back, salvaged_in
from toolkit.rollback.salvage.shapes import Column, Shape
from toolkit.rollback.sql_lexer import statements

NO_KEY_NOTE = "the table has no key: rows are told apart by all columns that the down left alone"
NOT_TOLD_NOTE = "the table has no key and nobody knows which columns changed: put it back by hand"


@dataclass(frozen=True)
class PutBack:
    """What came of one copy: rows written, of those that were kept. What was there as it was kept is not written."""

    salvaged: Salvaged
    rows: int

    def __str__(self) -> str:
        table = self.salvaged.table
        if self.salvaged.kind == "sequence":
            return f"the sequence {table} stands where it stood"
        return f"{self.rows:,} of {self.salvaged.rows:,} rows of {table}"


def put_back_sql(
    shape: Shape,
    spec: Spec,
    salvaged: Salvaged,
    copied: Sequence[int],
    matched: Sequence[int],
    stable: Sequence[int],
) -> tuple[str, str]:
    """The statements that put a copy back, and what a person should know. '' where it cannot be done by itself.

    `copied`, `matched` and `stable` are numbers of columns: in the copy, of its key, and left alone by the down.
    """
    kept = sql.Identifier(salvaged.kept_schema, salvaged.kept_table)
    lost = spec.columns or tuple(n for n in copied if n not in matched)
    said: list[sql.Composable] = []
    note = "" if matched else NO_KEY_NOTE
    if spec.how is not How.ROWS or matched:  # rows that the migration brings along get the values that they had
        values = [shape.columns[n] for n in lost if n not in matched]
        telling = [shape.columns[n] for n in stable if n not in spec.columns]
        if not matched and (spec.how is How.BOTH or not telling):
            return "", NOT_TOLD_NOTE
        if values:
            update = _by_key(shape, kept, values, [shape.columns[n] for n in matched])
            said += _with_identity(shape, values, update if matched else _by_all(shape, kept, values, telling))
    if spec.how is not How.COLUMNS:
        said.append(_insert(shape, kept, copied))
    return ";\n".join(each.as_string(None) for each in said), note


def put_back(
    database: Database, incident: str, *, version: int | None = None, only: Sequence[int] | None = None
) -> list[PutBack]:
    """Put back what an incident's downs took, all of it or only these copies, in one transaction; those that went back
    before are left alone. The migrations must have been applied again. Raises RollbackError, DatabaseError."""
    with database.writing() as conn:
        return put_back_in(conn, incident, target=database.target, version=version, only=only)


def put_back_in(
    conn: Connection, incident: str, *, target: str, version: int | None = None, only: Sequence[int] | None = None
) -> list[PutBack]:
    """The same, in the caller's transaction."""
    from toolkit.rollback.salvage.keep import SELF, as_role, pinned

    wanted = [
        each
        for each in salvaged_in(conn, incident)
        if each.put_back_at is None
        and each.put_back
        and (only is None or each.id in only)
        and (version is None or each.version == version)
    ]
    done = []
    for each in _in_order(conn, wanted):
        owner = _require_there(conn, each, target)
        with as_role(conn, owner), pinned(conn):
            rows = _go_back(conn, each)
        done.append(PutBack(each, rows))
    with as_role(conn, SELF):
        mark_put_back(conn, [each.salvaged.id for each in done])
    return done


# the statements -----------------------------------------------------------------------------------------------------


def _value(column: Column, relation: str = "kept") -> sql.Composable:
    name = sql.Identifier(relation, column.name)
    if not column.foreign_type:
        return name
    return sql.SQL("{}::{}").format(name, sql.SQL(column.type))


def _assignments(values: Sequence[Column]) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column.name), _value(column)) for column in values
    )


def _by_key(shape: Shape, kept: sql.Identifier, values: Sequence[Column], key: Sequence[Column]) -> sql.Composable:
    on = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("live", column.name), _value(column)) for column in key
    )
    # a row that has its value is left alone: a constraint that is not validated would look at it, too
    differ = sql.SQL(" OR ").join(
        sql.SQL("live.{name}::text IS DISTINCT FROM kept.{name}::text").format(name=sql.Identifier(column.name))
        for column in values
    )
    return sql.SQL("UPDATE {} AS live SET {} FROM {} AS kept WHERE {} AND ({})").format(
        shape.identifier, _assignments(values), kept, on, differ
    )


def _by_all(shape: Shape, kept: sql.Identifier, values: Sequence[Column], telling: Sequence[Column]) -> sql.Composable:
    """Rows that are equal in all columns that were left alone are equal: any of them may have any of their values."""
    live = sql.SQL(", ").join(_text(column, cast_it=True) for column in telling)
    copy = sql.SQL(", ").join(_text(column, cast_it=False) for column in telling)
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in values)
    return sql.SQL(
        "UPDATE {table} AS live SET {assignments} "
        "FROM (SELECT tableoid AS part, ctid AS place, ROW({live})::text AS told, "
        "row_number() OVER (PARTITION BY ROW({live})::text) AS turn FROM {table}) AS found "
        "JOIN (SELECT {names}, ROW({copy})::text AS told, "
        "row_number() OVER (PARTITION BY ROW({copy})::text) AS turn FROM {kept}) AS kept USING (told, turn) "
        "WHERE live.tableoid = found.part AND live.ctid = found.place"
    ).format(table=shape.identifier, assignments=_assignments(values), live=live, copy=copy, names=names, kept=kept)


def _text(column: Column, *, cast_it: bool) -> sql.Composable:
    """A copy has types that are not the server's own as text already."""
    return sql.SQL("{}::text" if cast_it and column.foreign_type else "{}").format(sql.Identifier(column.name))


def _insert(shape: Shape, kept: sql.Identifier, copied: Sequence[int]) -> sql.Composable:
    columns = [shape.columns[n] for n in copied]
    return sql.SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS kept ON CONFLICT DO NOTHING"
    ).format(
        shape.identifier,
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
        sql.SQL(", ").join(_value(column) for column in columns),
        kept,
    )


def _with_identity(shape: Shape, values: Sequence[Column], update: sql.Composable) -> list[sql.Composable]:
    """A column that is always generated as identity takes no value while it is one."""
    always = [column for column in values if column.identity == "a"]
    said = [
        [
            sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET GENERATED {}").format(
                shape.identifier, sql.Identifier(column.name), sql.SQL(word)
            )
            for column in always
        ]
        for word in cast(list[LiteralString], ["BY DEFAULT", "ALWAYS"])
    ]
    return [*said[0], update, *said[1]]


# doing it -----------------------------------------------------------------------------------------------------------


def _go_back(conn: Connection, each: Salvaged) -> int:
    """Rows written. Triggers, and row-level security that is forced on the owner too, are off meanwhile."""
    triggers, forced = _triggers(conn, each), _forced(conn, each)
    table = sql.Identifier(each.schema, each.table)
    off = [sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(table, sql.Identifier(name)) for name in triggers]
    on = [sql.SQL("ALTER TABLE {} ENABLE TRIGGER {}").format(table, sql.Identifier(name)) for name in triggers]
    if forced:
        off.append(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(table))
        on.append(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table))
    for statement in off:
        conn.execute(statement)
    rows = sum(_run(conn, statement.cut(each.put_back)) for statement in statements(each.put_back))
    for statement in on:
        conn.execute(statement)
    return rows


def _forced(conn: Connection, each: Salvaged) -> bool:
    row = conn.execute(
        """
        SELECT relforcerowsecurity
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %(schema)s AND relname = %(table)s
        """,
        {"schema": each.schema, "table": each.table},
    ).fetchone()
    return row == (True,)


def _run(conn: Connection, text: str) -> int:
    done = conn.execute(text.encode())
    return max(done.rowcount, 0) if text.startswith(("UPDATE", "INSERT")) else 0


def _in_order(conn: Connection, salvaged: Sequence[Salvaged]) -> list[Salvaged]:
    """Rows first, parents before children; then columns; then sequences. Of one table the latest copy first, so that
    in the end the values stand that were there before the down."""
    rows = [each for each in reversed(salvaged) if each.kind in (How.ROWS, How.BOTH)]
    columns = [each for each in reversed(salvaged) if each.kind == How.COLUMNS]
    sequences = [each for each in salvaged if each.kind == "sequence"]
    order = _parents_first(conn)
    rows.sort(key=lambda each: order.get((each.schema, each.table), 0))
    return [*rows, *columns, *sequences]


def _parents_first(conn: Connection) -> dict[tuple[str, str], int]:
    """Each table's place in an order in which foreign keys point back; tables that point at each other: any."""
    rows = conn.execute(
        """
        SELECT child_space.nspname::text, child.relname::text, parent_space.nspname::text, parent.relname::text
        FROM pg_constraint
        JOIN pg_class child ON child.oid = conrelid
        JOIN pg_namespace child_space ON child_space.oid = child.relnamespace
        JOIN pg_class parent ON parent.oid = confrelid
        JOIN pg_namespace parent_space ON parent_space.oid = parent.relnamespace
        WHERE contype = 'f' AND conrelid <> confrelid
        """
    ).fetchall()
    sorter: TopologicalSorter[tuple[str, str]] = TopologicalSorter()
    for row in rows:
        sorter.add((row[0], row[1]), (row[2], row[3]))
    try:
        return {table: place for place, table in enumerate(sorter.static_order(), start=1)}
    except CycleError:
        return {}


def _require_there(conn: Connection, each: Salvaged, target: str) -> str:
    """The owner of what it goes back into. RollbackError when that is not there as it was."""
    row = conn.execute(
        """
        SELECT pg_get_userbyid(relowner)::text,
               ARRAY (SELECT attname::text FROM pg_attribute
                      WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped)
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %(schema)s AND relname = %(table)s
        """,
        {"schema": each.schema, "table": each.table},
    ).fetchone()
    missing = "it" if row is None else ", ".join(name for name in (*each.columns, *each.key) if name not in row[1])
    if each.kind == "sequence" and row is not None:
        missing = ""
    if row is None or missing:
        raise RollbackError(
            f"{each.schema}.{each.table} is not as it was before migration {each.version} was taken back: "
            f"{missing} is missing",
            target=target,
            state="nothing was put back",
            next=f"apply migration {each.version} again, then put it back",
        )
    return str(row[0])


def _triggers(conn: Connection, each: Salvaged) -> list[str]:
    """The table's own triggers that are on."""
    rows = conn.execute(
        """
        SELECT tgname::text
        FROM pg_trigger
        JOIN pg_class ON pg_class.oid = tgrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %(schema)s AND relname = %(table)s AND NOT tgisinternal AND tgenabled = 'O'
          AND tgparentid = 0
        ORDER BY tgname
        """,
        {"schema": each.schema, "table": each.table},
    ).fetchall()
    return [str(row[0]) for row in rows]

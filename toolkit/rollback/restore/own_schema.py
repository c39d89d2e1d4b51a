"""What the toolkit keeps on the target (lease, stable points, freeze), carried from one database into another.

Its tables first, while everybody is at work; its rows once more, when nobody writes any. What a merge has listed in the
copy stays listed when the tables are carried over again: the rows are in the copy by then, and no later merge would
find a difference to list.
"""

import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.playbook import pg_bindir
from toolkit.rollback.merge.conflicts import keep_listed, list_again
from toolkit.rollback.relations import relations
from toolkit.rollback.restore.catalog import snapshot_of

OWN_SCHEMA = "toolkit"
DUMP_WITHIN_S = 600.0


def carry_toolkit(live: Database, copy: Database, folder: Path) -> None:
    """The tables of the schema `toolkit` as they are now; their rows follow once more when nobody writes any."""
    tools = PgTools.found(pg_bindir())
    with copy.writing() as conn:
        keep_listed(conn)
        conn.execute("DROP SCHEMA IF EXISTS toolkit CASCADE")
    home = Path(tempfile.mkdtemp(prefix=".restoring-", dir=folder))
    try:
        with (
            snapshot_of(live) as snapshot,
            tools.dump(
                live,
                home / "toolkit",
                schemas=[OWN_SCHEMA],
                snapshot=snapshot,
                jobs=1,
                compression=0,
                lock_within_ms=5_000,
            ) as dump,
        ):
            dump.wait(DUMP_WITHIN_S)
        tools.restore(copy, home / "toolkit", jobs=1, exit_on_error=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    with copy.writing() as conn:
        list_again(conn)


def copy_toolkit(there: Connection, here: Connection, *, but: Collection[str] = ()) -> None:
    """Every row of the schema `toolkit`, anew, in an order that no foreign key minds."""
    tables = [each for each in relations(there, [OWN_SCHEMA]) if each.kind == "r" and each.name not in but]
    present = {each.name for each in relations(here, [OWN_SCHEMA])}
    wanted = [each for each in tables if each.name in present]
    if not wanted:
        return
    here.execute("SET CONSTRAINTS ALL DEFERRED")
    names = sql.SQL(", ").join(each.identifier for each in wanted)
    here.execute(sql.SQL("TRUNCATE {} CASCADE").format(names))
    for each in _parents_first(there, [each.name for each in wanted]):
        table = sql.Identifier(OWN_SCHEMA, each)
        with (
            there.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(table)) as source,
            here.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as target,
        ):
            for block in source:
                target.write(block)
    advance_all(there, here, [OWN_SCHEMA])


def _parents_first(conn: Connection, names: Sequence[str]) -> list[str]:
    rows = conn.execute(
        """
        SELECT child.relname, parent.relname
        FROM pg_constraint
        JOIN pg_class AS child ON child.oid = conrelid
        JOIN pg_class AS parent ON parent.oid = confrelid
        WHERE contype = 'f' AND child.relnamespace = 'toolkit'::regnamespace AND conrelid <> confrelid
        """
    ).fetchall()
    ordered: list[str] = []
    while len(ordered) < len(names):
        waiting = [name for name in names if name not in ordered]
        free = [
            name
            for name in waiting
            if all(parent in ordered or parent not in names for child, parent in rows if child == name)
        ]
        ordered += free or waiting[:1]
    return ordered


def advance_all(there: Connection, here: Connection, schemas: Sequence[str]) -> None:
    """Sequences of the copy to at least what the live ones had."""
    known = {(each.schema, each.name) for each in relations(here, schemas) if each.kind == "S"}
    for each in relations(there, schemas):
        if each.kind != "S" or (each.schema, each.name) not in known:
            continue
        row = there.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(each.identifier)).fetchone()
        now = here.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(each.identifier)).fetchone()
        assert row is not None and now is not None
        if row > now:
            here.execute(
                "SELECT setval(%(name)s::regclass, %(value)s, %(called)s)",
                {"name": each.identifier.as_string(here), "value": row[0], "called": row[1]},
            )

"""Databases change names, from the maintenance database: the live one closed, emptied of sessions, caught up, renamed.

    two sessions opened ─► live closed, its sessions ended ─► its rows staged beside the copy's ─► merge, sequences
    ─► sessions closed ─► both renames and open again, in ONE transaction

A run that dies in between leaves the live database closed to everybody, superusers too. `reopen` is the way back: it
opens what a swap of ours has closed, and the swap begins anew. The copy's comment says which database that is. While a
swap lives its session holds an advisory lock in the maintenance database, and nobody reopens under its hands; what was
opened all the same is not renamed, for somebody may have written since the catch-up.
"""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import RollbackError
from toolkit.playbook import pg_bindir
from toolkit.rollback.freeze import reapply
from toolkit.rollback.merge import hold_effects
from toolkit.rollback.merge.conflicts import prepare
from toolkit.rollback.plan import SwapIn
from toolkit.rollback.relations import relations
from toolkit.rollback.restore.catalog import snapshot_of
from toolkit.rollback.restore.names import damaged_name, restored_name
from toolkit.rollback.restore.other_database import (
    close_to_all,
    end_sessions,
    maintenance,
    name_of,
    open_to_all,
    states_of,
)
from toolkit.rollback.restore.other_schemas import refresh_views, require_covered
from toolkit.rollback.restore.privileges import Rights, carry_over, rights_in
from toolkit.rollback.restore.records import Restored, Swapped, keep_swap
from toolkit.rollback.restore.settings import carry_settings
from toolkit.rollback.restore.staging import Staged, stage, staged_damage
from toolkit.rollback.restore.swap_schemas import carry, count_rows, counts_after, written_since
from toolkit.rollback.steps.doing import Surroundings

OWN_SCHEMA = "toolkit"
CLOSED = "closed by a swap of the toolkit"
DUMP_WITHIN_S = 600.0
SWAPPING = 7_021_002  # the advisory lock, with a database's name, that a living swap holds
ENDED_WITHIN_S, LOOK_EVERY_S = 10.0, 0.05


def swap_databases(around: Surroundings, action: SwapIn, restored: Restored) -> Swapped:
    """All of the swap. Raises RollbackError or DatabaseError; the live database is open again then."""
    live = around.systems.database
    name, beside, aside = name_of(live), restored_name(restored.mark), damaged_name(restored.mark)
    copy = live.named(beside)
    applications = around.systems.playbook.database.schemas
    with live.reading() as there, copy.reading() as here:  # before anybody is sent away
        require_covered(there, here, restored.schemas, applications)
    with copy.reading(within_ms=0) as here:  # nobody else writes there
        counted = count_rows(here, {schema: schema for schema in restored.schemas})
    _carry_toolkit(live, copy, around.incident.folder)
    notes = carry_settings(live, maintenance(live), name, beside)
    with maintenance(live).singly() as above:
        _require_alone(above, name)
        _mark_closed(above, name, beside)
        try:
            swapped = _catch_up(above, around, action, restored, live, copy, notes, counted)
            end_sessions(above, beside)
            _rename(above, name, beside, aside)
        except BaseException:
            _open_again(above, name)
            raise
    return swapped


def reopen(live: Database) -> str | None:
    """Open a live database that a swap of ours has closed and not replaced; None where none was. Safe to repeat.

    To be asked before anything else of a run that goes on, or that gives up: nobody can connect until then. A swap that
    is still at work is left alone.
    """
    name = name_of(live)
    with maintenance(live).singly() as conn:
        if not _alone(conn, name) or not _open_again(conn, name):
            return None
    return f"database {name} was closed by a swap that did not come to its end, and is open again"


def _open_again(conn: Connection, name: str) -> bool:
    """Open it where a swap of ours has closed it; whether it was so."""
    state = states_of(conn, [name]).get(name)
    marked = conn.execute(
        """
        SELECT datname
        FROM pg_database
        WHERE shobj_description(oid, 'pg_database') = %(mark)s
        """,
        {"mark": _comment(name)},
    ).fetchone()
    if state is None or state.open or marked is None:
        return False
    open_to_all(conn, name)
    return True


def _alone(conn: Connection, name: str) -> bool:
    """Whether no other swap of that database lives. Holds its place until this session ends."""
    row = conn.execute(
        "SELECT pg_try_advisory_lock(%(swapping)s, hashtext(%(name)s))", {"swapping": SWAPPING, "name": name}
    ).fetchone()
    return row == (True,)


def _require_alone(conn: Connection, name: str) -> None:
    """A session whose client was killed ends a moment later."""
    deadline = time.monotonic() + ENDED_WITHIN_S
    while not _alone(conn, name):
        if time.monotonic() > deadline:
            raise RollbackError(
                f"Another swap of database {name} is at work",
                state="nothing was done",
                next="wait for its end, then run the plan again",
            )
        time.sleep(LOOK_EVERY_S)


def swap_back(around: Surroundings, swapped: Swapped) -> bool:
    """The inverse, where nothing was written since; False where something was, and the restored database stays live.

    Ends every session once. Raises RollbackError or DatabaseError; the live database is open again then.
    """
    live, mark = around.systems.database, swapped.mark
    name, beside, aside = name_of(live), restored_name(mark), damaged_name(mark)
    with live.writing() as conn:
        around.fence.guard(conn)
    with maintenance(live).singly() as above:
        if aside not in states_of(above, [aside]):
            return False
        _require_alone(above, name)
        _mark_closed(above, name, aside)
        try:
            if not _put_back(above, around, swapped, live.named(aside)):
                _open_again(above, name)
                return False
            end_sessions(above, aside)
            _rename(above, name, aside, beside)
        except BaseException:
            _open_again(above, name)
            raise
    return True


def _put_back(above: Connection, around: Surroundings, swapped: Swapped, damaged: Database) -> bool:
    """Close the live database and, where nothing was written to it, take what the toolkit keeps along."""
    live, hang_up_after_s = around.systems.database, around.patience.hang_up_after_s
    with (
        live.reading(within_ms=int(hang_up_after_s * 1000 / 3)) as there,
        damaged.writing(lock_within_ms=0, hang_up_after_s=hang_up_after_s) as here,
    ):
        close_to_all(above, name_of(live))
        end_sessions(above, name_of(live), but=[there.info.backend_pid])
        there.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        prepare(here)  # what the merge has made in the copy
        same = count_rows(there, {schema: schema for schema in swapped.schemas}) == dict(swapped.counts)
        kept = {each.name for each in relations(there, [OWN_SCHEMA])}
        if not same or written_since(there, swapped) or kept - {each.name for each in relations(here, [OWN_SCHEMA])}:
            return False
        _copy_toolkit(there, here)
        reapply(here)
        keep_swap(here, Swapped(swapped.mark, swapped.source, swapped.way, "undone", swapped.schemas))
    return True


def _catch_up(
    above: Connection,
    around: Surroundings,
    action: SwapIn,
    restored: Restored,
    live: Database,
    copy: Database,
    notes: Sequence[str],
    counted: Mapping[str, int],
) -> Swapped:
    """Between closing and renaming: everything that was acknowledged, from the live database into the copy."""
    name = name_of(live)
    hang_up_after_s = around.patience.hang_up_after_s  # nobody can connect meanwhile: it must come to an end
    with (
        live.reading(within_ms=int(hang_up_after_s * 1000 / 3)) as there,
        copy.writing(lock_within_ms=0, hang_up_after_s=hang_up_after_s) as here,
    ):
        around.fence.guard(here)
        close_to_all(above, name)
        end_sessions(above, name, but=[there.info.backend_pid])
        there.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        applications = around.systems.playbook.database.schemas
        require_covered(there, here, restored.schemas, applications)
        rights = {schema: rights_in(there, schema) for schema in restored.schemas}
        staged = stage(there, here, restored, action.damage)
        _copy_toolkit(there, here)
        around.fence.guard(here)  # the live lease's row now: what stood here was dumped before production was closed
        merged = carry(
            here,
            around,
            staged_damage(action.damage, staged),
            {each.schema: each.stands for each in staged},
            {schema: schema for schema in restored.schemas},
        )
        _advance(there, here, restored.schemas)
        _drop_staged(here, staged)
        refresh_views(here, [schema for schema in restored.schemas if schema not in applications])
        held = hold_effects(here, around.plan.held_queue)
        told = {"merged": merged.to_json(), "notes": list(notes), "held_jobs": held}
        swapped = _finish(here, restored, rights, counts_after(counted, merged), told)
    return swapped


def _finish(
    here: Connection,
    restored: Restored,
    rights: Mapping[str, Rights],
    counts: Mapping[str, int],
    told: Mapping[str, object],
) -> Swapped:
    """Rights as the live ones had them, the freeze, the record. True once it is renamed: nobody reads it before."""
    taken = [line for schema, live in rights.items() for line in carry_over(here, schema, live)]
    reapply(here)
    swapped = Swapped(
        restored.mark, restored.source, "databases", "done", restored.schemas, counts, {**told, "rights": taken}
    )
    keep_swap(here, swapped)
    return swapped


def _mark_closed(above: Connection, name: str, beside: str) -> None:
    """Say on the copy which database is going to be closed, before it is."""
    conn_comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
    above.execute(conn_comment.format(sql.Identifier(beside), sql.Literal(_comment(name))))


def _comment(name: str) -> str:
    return f"{name} was {CLOSED}"


def _rename(above: Connection, name: str, beside: str, aside: str) -> None:
    """In one transaction, so that there is never no database, nor a closed one, under the live name."""
    if aside in states_of(above, [aside]):
        raise RollbackError(
            f"There is a database {aside} already", state="nothing was renamed", next="discard it first"
        )
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with above.transaction():
        was = states_of(above, [name])[name]
        close_to_all(above, name)  # whoever would open it now waits for this transaction
        if was.open:
            raise RollbackError(
                f"Somebody opened database {name} before it was renamed, and may have written to it",
                state="nothing was renamed; it is open",
                next="run the plan again: it catches up once more",
            )
        above.execute(rename.format(sql.Identifier(name), sql.Identifier(aside)))
        above.execute(rename.format(sql.Identifier(beside), sql.Identifier(name)))
        above.execute(sql.SQL("COMMENT ON DATABASE {} IS NULL").format(sql.Identifier(name)))
        open_to_all(above, aside)
        open_to_all(above, name)


# The schema `toolkit`: lease, stable points, freeze ----------------------------------------------------------------


def _carry_toolkit(live: Database, copy: Database, folder: Path) -> None:
    """The tables of the schema `toolkit` as they are now; their rows follow once more when nobody writes any."""
    tools = PgTools.found(pg_bindir())
    with copy.writing() as conn:
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


def _copy_toolkit(there: Connection, here: Connection) -> None:
    """Every row of the schema `toolkit`, anew, in an order that no foreign key minds."""
    tables = [each for each in relations(there, [OWN_SCHEMA]) if each.kind == "r"]
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
    _advance(there, here, [OWN_SCHEMA])


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


def _advance(there: Connection, here: Connection, schemas: Sequence[str]) -> None:
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


def _drop_staged(here: Connection, staged: Sequence[Staged]) -> None:
    for each in staged:
        here.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(each.stands)))

"""Databases change names, from the maintenance database: the live one closed, emptied of sessions, caught up, renamed.

    live rows staged beside the copy's, and merged once, while production serves
    ─► live closed, its sessions ended ─► what changed since staged and merged, sequences ─► sessions closed
    ─► both renames and open again, in ONE transaction

A run that dies in between leaves the live database closed to everybody, superusers too. `reopen` is the way back: it
opens what a swap of ours has closed, and the swap begins anew. The copy's comment says which database that is. While a
swap lives its session holds an advisory lock in the maintenance database, and nobody reopens under its hands; what was
opened all the same is not renamed, for somebody may have written since the catch-up.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database, pid_of, sql
from toolkit.errors import RollbackError
from toolkit.rollback.freeze import reapply
from toolkit.rollback.merge import hold_effects, merge_config, prepare_merge
from toolkit.rollback.merge.conflicts import prepare
from toolkit.rollback.plan import SwapIn
from toolkit.rollback.relations import relations
from toolkit.rollback.restore.default_privileges import carry_defaults
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
from toolkit.rollback.restore.own_schema import OWN_SCHEMA, advance_all, carry_toolkit, copy_toolkit
from toolkit.rollback.restore.privileges import Rights, carry_over, rights_in
from toolkit.rollback.restore.records import Restored, Swapped, keep_swap
from toolkit.rollback.restore.settings import carry_settings
from toolkit.rollback.restore.staging import Staged, horizon_of, stage, stage_since, staged_damage
from toolkit.rollback.restore.swap_schemas import carry, count_rows, counts_after, written_since
from toolkit.rollback.steps.doing import Surroundings

_MERGES = ("conflict", "merge_watermark")  # what the first merge has written in the copy
CLOSED = "closed by a swap of the toolkit"
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
    carry_toolkit(live, copy, around.incident.folder)
    prepared = _prepare(around, action, restored, live, copy)
    notes = [*carry_settings(live, maintenance(live), name, beside), *carry_defaults(live, copy)]
    with maintenance(live).singly() as above:
        _require_alone(above, name)
        _mark_closed(above, name, beside)
        try:
            swapped = _catch_up(above, around, action, restored, live, copy, notes, prepared)
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
        end_sessions(above, name_of(live), but=[pid_of(there)])
        there.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        prepare(here)  # what the merge has made in the copy
        same = count_rows(there, {schema: schema for schema in swapped.schemas}) == dict(swapped.counts)
        kept = {each.name for each in relations(there, [OWN_SCHEMA])}
        if not same or written_since(there, swapped) or kept - {each.name for each in relations(here, [OWN_SCHEMA])}:
            return False
        copy_toolkit(there, here)
        reapply(here)
        keep_swap(here, Swapped(swapped.mark, swapped.source, swapped.way, "undone", swapped.schemas))
    return True


@dataclass(frozen=True)
class _Prepared:
    """What was staged while production served, up to which transaction, and the copy's rows after its first merge."""

    staged: Sequence[Staged]
    horizon: str
    counted: Mapping[str, int]


def _prepare(around: Surroundings, action: SwapIn, restored: Restored, live: Database, copy: Database) -> _Prepared:
    """Stage and merge once, while production serves, so that only what changes meanwhile is left for when it is closed.

    What a run that died has staged is dropped first.
    """
    hang_up_after_s = around.patience.hang_up_after_s
    around.advance("copying live rows beside the restored ones", 0, None)
    with (
        live.reading(within_ms=int(hang_up_after_s * 1000 / 3)) as there,
        copy.writing(lock_within_ms=0, hang_up_after_s=hang_up_after_s) as here,
    ):
        there.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        around.fence.guard(here)
        horizon = horizon_of(there)
        staged = stage(there, here, restored, action.damage)
    with copy.writing(lock_within_ms=0, hang_up_after_s=hang_up_after_s) as here:
        here.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        prepare_merge(
            here,
            damaged={each.schema: each.stands for each in staged},
            restored={schema: schema for schema in restored.schemas},
            damage=staged_damage(action.damage, staged),
            config=merge_config(around.systems.playbook, around.incident.id),
            advance=around.advance,
        )
    with copy.reading(within_ms=0) as here:  # nobody else writes there
        return _Prepared(staged, horizon, count_rows(here, {schema: schema for schema in restored.schemas}))


def _catch_up(
    above: Connection,
    around: Surroundings,
    action: SwapIn,
    restored: Restored,
    live: Database,
    copy: Database,
    notes: Sequence[str],
    prepared: _Prepared,
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
        end_sessions(above, name, but=[pid_of(there)])
        there.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        applications = around.systems.playbook.database.schemas
        require_covered(there, here, restored.schemas, applications)
        rights = {schema: rights_in(there, schema) for schema in restored.schemas}
        staged = stage_since(there, here, prepared.staged, action.damage, prepared.horizon)
        copy_toolkit(there, here, but=_MERGES)
        around.fence.guard(here)  # the live lease's row now: what stood here was dumped before production was closed
        merged = carry(
            here,
            around,
            staged_damage(action.damage, staged),
            {each.schema: each.stands for each in staged},
            {schema: schema for schema in restored.schemas},
        )
        advance_all(there, here, restored.schemas)
        _drop_staged(here, staged)
        refresh_views(here, [schema for schema in restored.schemas if schema not in applications])
        held = hold_effects(here, around.plan.held_queue)
        told = {"merged": merged.to_json(), "notes": list(notes), "held_jobs": held}
        swapped = _finish(here, restored, rights, counts_after(prepared.counted, merged), told)
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


def _drop_staged(here: Connection, staged: Sequence[Staged]) -> None:
    for each in staged:
        here.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(each.stands)))

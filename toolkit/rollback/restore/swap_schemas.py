"""Schemas change places in one transaction: locks, both renames, the merge, sequences, rights, the freeze, the record.

Either all of it holds or nothing does, so a run that dies leaves a swap that was done or one that was not begun.
Connections stay: they wait for the transaction's length, and find the restored tables under the same names.
"""

from collections.abc import Mapping, Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.errors import UsageError
from toolkit.rollback.damage import Damage
from toolkit.rollback.freeze import reapply
from toolkit.rollback.merge import Merged, hold_effects, merge, merge_config, prepare_merge
from toolkit.rollback.plan import SwapIn
from toolkit.rollback.relations import relations
from toolkit.rollback.restore.catalog import root_tables
from toolkit.rollback.restore.exchange import Place, advance_sequences, exchange, exchange_back, lock_all
from toolkit.rollback.restore.names import damaged_name, restored_name
from toolkit.rollback.restore.privileges import carry_over, rights_in
from toolkit.rollback.restore.publications import members_of, repoint
from toolkit.rollback.restore.records import Restored, Swapped, keep_swap
from toolkit.rollback.steps.doing import Surroundings


def places_of(mark: str, schemas: Sequence[str]) -> list[Place]:
    """Where the live, the restored and the damaged schemas stand."""
    return [Place(schema, restored_name(mark, schema), damaged_name(mark, schema)) for schema in schemas]


def swap_schemas(
    conn: Connection, around: Surroundings, action: SwapIn, restored: Restored, counted: Mapping[str, int]
) -> Swapped:
    """All of the swap, in the caller's transaction, whose session has a short lock timeout. What is kept of it.

    `counted` are the copy's rows before the merge, by `schema.table`: nobody else writes there.
    The merge runs after the renames, so that functions and defaults of the restored tables that name the application's
    schemas find the restored ones.
    """
    places = places_of(restored.mark, restored.schemas)
    lock_all(conn, restored.schemas)
    rights = {place.live: rights_in(conn, place.live) for place in places}
    published = members_of(conn, restored.schemas)
    for place in places:
        exchange(conn, place)
    merged = carry(conn, around, action.damage, {p.live: p.damaged for p in places}, {p.live: p.live for p in places})
    advance_sequences(conn, places)
    taken = [line for place in places for line in carry_over(conn, place.live, rights[place.live])]
    unpublished = repoint(conn, published, {place.damaged: place.live for place in places})
    reapply(conn)
    held = hold_effects(conn, around.plan.held_queue)
    told = {"merged": merged.to_json(), "rights": taken, "unpublished": unpublished, "held_jobs": held}
    counts = counts_after(counted, merged)
    swapped = Swapped(restored.mark, restored.source, "schemas", "done", restored.schemas, counts, told)
    keep_swap(conn, swapped)
    return swapped


def swap_back(conn: Connection, swapped: Swapped) -> bool:
    """The inverse, where nothing was written since; False where something was. In the caller's transaction."""
    places = places_of(swapped.mark, swapped.schemas)
    lock_all(conn, swapped.schemas)
    if count_rows(conn, {place.live: place.live for place in places}) != dict(swapped.counts) or written_since(
        conn, swapped
    ):
        return False
    rights = {place.live: rights_in(conn, place.live) for place in places}
    published = members_of(conn, swapped.schemas)
    for place in places:
        exchange_back(conn, place)
    advance_sequences(conn, [Place(p.live, p.damaged, p.restored) for p in places])
    for place in places:
        carry_over(conn, place.live, rights[place.live])
    repoint(conn, published, {place.restored: place.live for place in places})
    reapply(conn)
    keep_swap(conn, Swapped(swapped.mark, swapped.source, swapped.way, "undone", swapped.schemas))
    return True


def carry(
    conn: Connection,
    around: Surroundings,
    damage: Sequence[Damage],
    damaged: Mapping[str, str],
    restored: Mapping[str, str],
) -> Merged:
    """What was acknowledged since the backup, by key, into the restored tables."""
    config = merge_config(around.systems.playbook, around.incident.id)
    return merge(conn, damaged=damaged, restored=restored, damage=damage, config=config)


def prepare_swap(around: Surroundings, action: SwapIn, restored: Restored) -> dict[str, int]:
    """Merge once before the swap, while production serves, so that the swap has only to look at what changed since.

    Where that cannot be done without a lock the swap does all of it. Returns the copy's rows by table.
    """
    copies = {place.live: place.restored for place in places_of(restored.mark, restored.schemas)}
    with around.systems.database.writing(lock_within_ms=around.patience.lock_within_ms) as conn:
        around.fence.guard(conn)
    try:
        with around.systems.database.writing(
            lock_within_ms=around.patience.lock_within_ms, hang_up_after_s=around.patience.hang_up_after_s
        ) as conn:
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            merged = prepare_merge(
                conn,
                damaged={schema: schema for schema in copies},
                restored=copies,
                damage=action.damage,
                config=merge_config(around.systems.playbook, around.incident.id),
                advance=around.advance,
            )
        around.tell("restore.prepared", {"told": {"merged": merged.to_json()}})
    except UsageError as error:
        around.tell("restore.not_prepared", {"why": error.what})
    with around.systems.database.reading(within_ms=0) as conn:
        return count_rows(conn, copies)


def count_rows(conn: Connection, schemas: Mapping[str, str]) -> dict[str, int]:
    """Rows by `schema.table`, a partitioned table as one. `schemas`: the application's name → where it stands."""
    conn.execute("SET LOCAL row_security = off")
    counts = {}
    for schema, stands in schemas.items():
        for table, partitioned in root_tables(conn, stands):
            query = sql.SQL("SELECT count(*) FROM {}" if partitioned else "SELECT count(*) FROM ONLY {}")
            row = conn.execute(query.format(sql.Identifier(stands, table))).fetchone()
            assert row is not None
            counts[f"{schema}.{table}"] = int(row[0])
    return counts


def counts_after(counts: Mapping[str, int], merged: Merged) -> dict[str, int]:
    """The counts of the copy after the merge: counting under the swap's locks would cost what the swap itself does."""
    after = dict(counts)
    for table in merged.tables:
        after[table.table] = after.get(table.table, 0) + table.inserted - table.deleted
    return after


def written_since(conn: Connection, swapped: Swapped) -> list[str]:
    """Tables with a row that a later transaction than the swap's wrote. Deletions alone show in the counts."""
    found = []
    for each in relations(conn, swapped.schemas):
        if not each.stores_rows:
            continue
        query = sql.SQL(
            """
            SELECT EXISTS (
                SELECT FROM {table} WHERE age(xmin) < age(%(xid)s::xid8::xid)
            )
            """
        ).format(table=each.identifier)
        if conn.execute(query, {"xid": str(swapped.xid)}).fetchone() == (True,):
            found.append(f"{each.schema}.{each.name}")
    return found

"""The merge: what was acknowledged since the backup goes from the damaged tables into the restored ones, by key.

It runs in the caller's transaction, on one database in which both sides stand, and changes the restored side only (and
the lists in the schema `toolkit`). Everything is a set operation on the server. What cannot be decided keeps its live
value and is listed; what a constraint would refuse is left as restored and listed; nothing is invented.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from toolkit.adapters.conflicts import REFUSED
from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import split_name
from toolkit.errors import UsageError
from toolkit.rollback.damage import Damage
from toolkit.rollback.merge.applying import (
    change_rows,
    delete_gone,
    forced_security,
    insert_new,
    undisturbed,
    unrestricted,
)
from toolkit.rollback.merge.config import MergeConfig
from toolkit.rollback.merge.conflicts import list_conflicts, prepare
from toolkit.rollback.merge.difference import find_changes, find_pairs, reason_names
from toolkit.rollback.merge.keyless import find_rows
from toolkit.rollback.merge.outcome import LeftColumn, LeftTable, Merged, TableMerged
from toolkit.rollback.merge.partitions import add_missing_partitions
from toolkit.rollback.merge.refusals import refuse
from toolkit.rollback.merge.rules import Rules
from toolkit.rollback.merge.sequences import advance_sequences
from toolkit.rollback.merge.tables import Pairing, Table, pair_tables
from toolkit.rollback.merge.watermarks import (
    Watermark,
    find_pairs_since,
    forget_watermarks,
    keep_watermark,
    read_watermark,
    rules_digest,
)

Advance = Callable[[str, float, float | None], None]

_SETTINGS = {
    "row_security": "off",
    "work_mem": "256MB",
    "jit": "off",
    "enable_mergejoin": "off",  # by random keys it reads the tables row by row through their indexes
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
JOBS, ARCHIVE, VERSION = "job", "archive", "version"


def merge(
    conn: Connection,
    *,
    damaged: Mapping[str, str],
    restored: Mapping[str, str],
    damage: Sequence[Damage],
    config: MergeConfig,
    advance: Advance | None = None,
) -> Merged:
    """Carry over into the restored schemas what was acknowledged since the backup.

    `damaged`, `restored`: an application's schema by the name under which it stands now. The caller holds ACCESS
    EXCLUSIVE on the damaged tables and owns both sides; nobody else sees the restored one. UsageError for a damage that
    names a table or column that is not there, or whose SQL is no expression.
    """
    prepare(conn)
    with _settings(conn, restored), unrestricted(conn, [*damaged.values(), *restored.values()]):
        merged = _merge(conn, damaged, restored, damage, config, advance or _nothing, keep=False)
    forget_watermarks(conn, config.mark)
    return merged


def prepare_merge(
    conn: Connection,
    *,
    damaged: Mapping[str, str],
    restored: Mapping[str, str],
    damage: Sequence[Damage],
    config: MergeConfig,
    advance: Advance | None = None,
) -> Merged:
    """Merge before the swap, while production serves, so that `merge` has only to look at what changed since.

    Arguments as for `merge`, in a transaction of its own with REPEATABLE READ, committed by the caller before the swap
    begins. It takes no lock that a writer waits for. May be repeated; each time less is left. UsageError where the
    transaction sees more than one snapshot, or where row-level security is forced upon the owner of a live table.
    """
    if _setting(conn, "transaction_isolation") not in ("repeatable read", "serializable"):
        raise UsageError("A merge is prepared from one snapshot", next="use a transaction with REPEATABLE READ")
    if forced_security(conn, list(damaged.values())):
        raise UsageError(
            "Row-level security is forced upon the owner of a live table, and lifting it needs its lock",
            state="nothing was merged",
            next="merge without preparing: inside the swap",
        )
    prepare(conn)
    with _settings(conn, restored), unrestricted(conn, list(restored.values())):
        return _merge(conn, damaged, restored, damage, config, advance or _nothing, keep=True)


def _merge(
    conn: Connection,
    damaged: Mapping[str, str],
    restored: Mapping[str, str],
    damage: Sequence[Damage],
    config: MergeConfig,
    advance: Advance,
    *,
    keep: bool,
) -> Merged:
    notes = add_missing_partitions(conn, damaged, restored)
    pairing = pair_tables(conn, damaged, restored, damage, config)
    _require_damage(conn, pairing, damage)
    tables = [table for table in pairing.tables if table.columns]
    digest = rules_digest(damage, config)
    marks = {table.name: read_watermark(conn, table, config.mark, digest) for table in tables}
    rules = {table.name: _rules(table, damaged, config, since=marks[table.name] is not None) for table in tables}
    for done, table in enumerate(tables):
        advance("comparing", done, len(tables))
        _compare(conn, rules[table.name], marks[table.name])
        if table.name == f"{config.queue_schema}.{VERSION}":
            _keep_layout(conn, table)
    refuse(conn, list(rules.values()))
    listed = {table.name: _list(conn, rules[table.name], config) for table in tables}
    done_to = tuple(_apply(conn, restored, list(rules.values()), listed, advance))
    for table in tables if keep else ():
        if table.key:
            keep_watermark(conn, table, config.mark, digest, marks[table.name])
    return Merged(
        tables=done_to,
        left_columns=tuple(_left_columns(conn, pairing)),
        left_tables=tuple(LeftTable(name, _count(conn, rows)) for name, rows in pairing.only_damaged),
        sequences=advance_sequences(conn, damaged, restored),
        notes=(*notes, *_unknowable(tables)),
    )


def _unknowable(tables: Sequence[Table]) -> Iterator[str]:
    """What a damage has destroyed without a trace, and no list can name."""
    for table in tables:
        verbs = {each.verb for each in table.damage}
        if "deleted" in verbs:
            yield f"rows of {table.name} that came after the backup and that the damage deleted are in neither copy"
        for each in table.damage:
            if each.verb == "overwritten" and table.key:
                what = ", ".join(each.columns) or "all columns"
                yield (
                    f"{table.name}: where the damage wrote last, {what} are as in the backup; what was written into "
                    "them between the backup and the damage is lost, and listed only where the row shows another change"
                )


def _compare(conn: Connection, rules: Rules, watermark: Watermark | None) -> None:
    if not rules.table.key:
        find_rows(conn, rules)
        return
    if watermark is not None:
        find_pairs_since(conn, rules, watermark)
    else:
        find_pairs(conn, rules)
    find_changes(conn, rules)


def _keep_layout(conn: Connection, table: Table) -> None:
    """The queue's layout is the restored one, whatever the damaged one says of itself."""
    conn.execute(sql.SQL("DELETE FROM {} WHERE kind IN ('new', 'gone')").format(table.merging))


def _apply(
    conn: Connection,
    restored: Mapping[str, str],
    rules: Sequence[Rules],
    listed: Mapping[str, int],
    advance: Advance,
) -> list[TableMerged]:
    tables = [each.table for each in rules]
    done: dict[str, dict[str, int]] = {table.name: {} for table in tables}
    with undisturbed(conn, list(restored.values())):
        for number, (what, act) in enumerate(
            (("deleted", delete_gone), ("changed", change_rows), ("inserted", insert_new))
        ):
            advance("carrying over", number, 3)
            for table in tables:
                done[table.name][what] = act(conn, table)
    return [
        TableMerged(
            table.name,
            "since" if each.since else "key" if table.key else "rows",
            kept=_kind(conn, table, "kept"),
            refused=_kind(conn, table, "damaged") + _kind(conn, table, "left"),
            conflicts=listed[table.name],
            **done[table.name],
        )
        for each in rules
        for table in (each.table,)
    ]


def _list(conn: Connection, rules: Rules, config: MergeConfig) -> int:
    """List what could not be decided and what was refused; how many."""
    table = rules.table
    if rules.since:
        _unlist(conn, table, config)
    names = sql.Literal(reason_names(rules) if table.key else [""])
    found = sql.SQL("""
        SELECT key, told.column_name, told.reason
        FROM {merging} AS m
        CROSS JOIN LATERAL unnest({names}::text[], reasons) AS told (column_name, reason)
        WHERE told.reason IS NOT NULL AND kind NOT IN ('damaged', 'kept') AND refused IS NULL
        UNION ALL
        SELECT key, '', {refused} || refused FROM {merging} WHERE refused IS NOT NULL
        UNION ALL
        (SELECT key, '', reasons[1] FROM {merging} WHERE kind = 'kept' LIMIT {most})
        UNION ALL
        (SELECT jsonb_build_object('rows', count(*) - {most}), '', min(reasons[1]) || ': and so many rows more'
         FROM {merging} WHERE kind = 'kept' HAVING count(*) > {most})
    """).format(merging=table.merging, names=names, most=sql.Literal(config.most_listed), refused=sql.Literal(REFUSED))
    return list_conflicts(conn, config.mark, table.name, found)


def _unlist(conn: Connection, table: Table, config: MergeConfig) -> None:
    """What was listed of rows that somebody has deleted since, or that are looked at anew, is settled."""
    conn.execute(
        sql.SQL("""
            DELETE FROM toolkit.conflict
            USING {} AS m
            WHERE mark = {} AND table_name = {} AND conflict.key = m.key AND m.kind IN ('gone', 'new')
        """).format(table.merging, sql.Literal(config.mark), sql.Literal(table.name))
    )


def _rules(table: Table, damaged: Mapping[str, str], config: MergeConfig, *, since: bool) -> Rules:
    archive, queue = None, config.queue_schema
    if queue is not None and queue in damaged and table.name == f"{queue}.{JOBS}":
        archive = sql.Identifier(damaged[queue], ARCHIVE)
    return Rules(table, since=since and bool(table.key), archive=archive)


def _require_damage(conn: Connection, pairing: Pairing, damage: Sequence[Damage]) -> None:
    """UsageError unless every table and column that the damage names is there to be merged."""
    tables = {table.name: table for table in pairing.tables}
    gone = {name for name, _ in pairing.only_damaged}
    for each in damage:
        name = ".".join(split_name(each.table))
        if name in gone or name in pairing.only_restored:
            continue
        if name not in tables:
            raise UsageError(f"The damage names the table {each.table}, which is not there", next="correct the damage")
        known = {*tables[name].named, *tables[name].only_damaged}
        if missing := sorted(set(each.columns) - known):
            raise UsageError(
                f"The damage names {', '.join(missing)} of {each.table}, which is not there", next="correct the damage"
            )
        _require_told(tables[name], each)


def _require_told(table: Table, damage: Damage) -> None:
    """UsageError where nothing tells the damage's values from those that somebody wrote afterwards."""
    columns = damage.columns or tuple(column.name for column in table.values)
    told = damage.xids or (damage.written and set(columns) & set(table.named) <= set(dict(damage.written)))
    if damage.verb == "overwritten" and table.key and not told:
        raise UsageError(
            f"The damage to {damage.table} is told neither by its transactions nor by what it wrote: what was written "
            "after it could not be told from it",
            state="nothing was merged",
            next="say in the restore's file (--damage FILE) its xids, as xmin shows them, or what it wrote into each "
            "column; or do not take it",
        )


@contextmanager
def _settings(conn: Connection, restored: Mapping[str, str]) -> Iterator[None]:
    """What comparing depends on, for this transaction, given back at the end. Names mean the restored side's."""
    path = ", ".join(sql.Identifier(name).as_string(conn) for name in restored.values())
    wanted = {**_SETTINGS, "search_path": path}
    before = {name: _setting(conn, name) for name in wanted}
    _set(conn, wanted)
    yield
    _set(conn, before)


def _setting(conn: Connection, name: str) -> str:
    row = conn.execute("SELECT current_setting(%(name)s)", {"name": name}).fetchone()
    assert row is not None
    return str(row[0])


def _set(conn: Connection, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        conn.execute("SELECT set_config(%(name)s, %(value)s, true)", {"name": name, "value": value})


def _left_columns(conn: Connection, pairing: Pairing) -> Iterator[LeftColumn]:
    """What only the damaged tables have, with how many values."""
    for table in pairing.tables:
        if table.only_damaged:
            counts = sql.SQL(", ").join(
                sql.SQL("count({})").format(sql.Identifier(name)) for name in table.only_damaged
            )
            row = conn.execute(sql.SQL("SELECT {} FROM {}").format(counts, table.damaged)).fetchone()
            assert row is not None
            yield from (LeftColumn(table.name, *each) for each in zip(table.only_damaged, row, strict=True))


def _kind(conn: Connection, table: Table, kind: str) -> int:
    return _count(conn, table.merging, sql.SQL("WHERE kind = {}").format(sql.Literal(kind)))


def _count(conn: Connection, rows: sql.Composable, where: sql.Composable | None = None) -> int:
    row = conn.execute(sql.SQL("SELECT count(*) FROM {} {}").format(rows, where or sql.SQL(""))).fetchone()
    assert row is not None
    return int(row[0])


def _nothing(_what: str, _done: float, _of: float | None) -> None:
    """Nobody watches."""

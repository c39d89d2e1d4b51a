"""Tables without a key: compared as a multiset, so that each row is there as often as it is to be.

Without a key nobody can tell a changed row from a deletion and an insertion. Where the table is damaged, rows that only
the restored side has stay, rows that the damage wrote last are not carried, and both are listed by the row's hash.
"""

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.conflicts import DELETION, NO_RIGHT_VALUE, WRITTEN_AFTER
from toolkit.rollback.merge.difference import make_temporary, unqualified
from toolkit.rollback.merge.rules import FALSE, Rules, cases, row_hash
from toolkit.rollback.merge.tables import Column


def find_rows(conn: Connection, rules: Rules) -> int:
    """Fill the table's `merging`, as `find_changes` does for tables with a key. `kind` 'left': not carried, listed."""
    table = rules.table
    query = sql.SQL("""
        CREATE TEMPORARY TABLE {merging} ON COMMIT DROP AS
        SELECT row_number() OVER () AS id,
               CASE WHEN d."merge:hash" IS NULL THEN CASE WHEN {kept} THEN 'kept' ELSE 'gone' END
                    WHEN told.fate = 'damaged' THEN 'damaged'
                    WHEN told.fate = {no_right_value} THEN 'left'
                    ELSE 'new' END AS kind,
               {values},
               ARRAY[CASE WHEN d."merge:hash" IS NULL THEN CASE WHEN {kept} THEN {deletion} END
                          WHEN told.fate <> 'damaged' THEN told.fate END]::text[] AS reasons,
               NULL::text AS refused,
               NULL::integer AS turn,
               jsonb_build_object('row', coalesce(d."merge:hash", r."merge:hash")::text,
                                  'nth', coalesce(d."merge:nth", r."merge:nth")) AS key,
               r."merge:lies" AS lies,
               r."merge:part" AS part
        FROM (
            SELECT d.*, row_number() OVER (PARTITION BY "merge:hash" ORDER BY "merge:hit") AS "merge:nth"
            FROM (
                SELECT d.*, d.xmin AS xmin, {live_hash} AS "merge:hash", {hit} AS "merge:hit"
                FROM {damaged} AS d
            ) AS d
        ) AS d
        FULL JOIN (
            SELECT r.*, row_number() OVER (PARTITION BY "merge:hash") AS "merge:nth"
            FROM (
                SELECT r.*, r.ctid AS "merge:lies", r.tableoid AS "merge:part", {old_hash} AS "merge:hash"
                FROM {restored} AS r
            ) AS r
        ) AS r ON d."merge:hash" = r."merge:hash" AND d."merge:nth" = r."merge:nth"
        CROSS JOIN LATERAL (SELECT CASE WHEN r."merge:hash" IS NULL THEN {fate} END AS fate OFFSET 0) AS told
        WHERE d."merge:hash" IS NULL OR r."merge:hash" IS NULL
    """).format(
        merging=unqualified(table, ""),
        kept=_kept(rules),
        no_right_value=sql.Literal(NO_RIGHT_VALUE),
        values=sql.SQL(", ").join(_value(rules, column) for column in table.columns),
        deletion=sql.Literal(DELETION),
        live_hash=row_hash(table.columns, "d"),
        hit=_written_by_damage(rules),
        damaged=table.damaged,
        old_hash=row_hash(table.columns, "r"),
        restored=table.restored,
        fate=_fate(rules),
    )
    return make_temporary(conn, table.merging, query)


def _value(rules: Rules, column: Column) -> sql.Composable:
    return sql.SQL("{} AS {}").format(rules.live(column), rules.table.slot(column))


def _written_by_damage(rules: Rules) -> sql.Composable:
    """Of equal rows, those that the damage wrote are the last to find a counterpart."""
    found = [rules.wrote_last(damage) for damage in rules.table.damage]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(found)) if found else FALSE


def _fate(rules: Rules) -> sql.Composable:
    """Of a row that only the damaged side has: NULL (carried), 'damaged', or a reason."""
    found = []
    for damage in rules.overwriting:
        if damage.xids:
            found += [(rules.wrote_last(damage), sql.Literal(NO_RIGHT_VALUE))]
            found += [(rules.holds(damage, "live"), sql.Literal(WRITTEN_AFTER))]
        else:
            found += [(rules.holds(damage, "live"), sql.Literal(NO_RIGHT_VALUE))]
    inserted = rules.fate_of_new()
    return sql.SQL("coalesce({}, {})").format(inserted, cases(found))


def _kept(rules: Rules) -> sql.Composable:
    """Whether a row that only the restored side has stays."""
    hit = [damage for damage in rules.table.damage if damage.verb in ("deleted", "overwritten")]
    held = [rules.holds(damage, "restored") for damage in hit]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(held)) if held else FALSE

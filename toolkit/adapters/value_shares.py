"""How a column's values are spread over a bounded sample of its rows: by this an overwritten column shows at once.

Values are told by their hash only: a column may hold personal data. It reads only, never more than the sample.
"""

from collections.abc import Mapping

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import relation

SAMPLED_ROWS = 2000
COMMON = 20  # values that are told apart; all others count as one
OTHERS = "others"

Shares = Mapping[str, float]


def value_shares(conn: Connection, column: str) -> Shares:
    """The share of each common value of a column (`table.column`, `schema.table.column`) by its hash, from 0 to 1.

    Of SAMPLED_ROWS rows or about so many, taken block by block; {} for an empty table.
    """
    table, _, name = column.rpartition(".")
    size = conn.execute(
        "SELECT reltuples::float8 FROM pg_class WHERE oid = %(table)s::text::regclass",
        {"table": relation(table).as_string(conn)},
    ).fetchone()
    rows = max(float(size[0]), 1.0) if size else 1.0
    query = sql.SQL(
        """
        SELECT coalesce(left(md5(value::text), 12), 'null'), count(*)
        FROM (
            SELECT {column} AS value
            FROM {table} TABLESAMPLE SYSTEM (least(100, greatest(0.001, 100 * %(sampled)s / %(rows)s::float8)))
            LIMIT %(most)s
        ) AS sample
        GROUP BY 1
        ORDER BY 2 DESC
        """
    ).format(column=sql.Identifier(name), table=relation(table))
    counts: dict[str, int] = dict(
        conn.execute(query, {"sampled": SAMPLED_ROWS, "rows": rows, "most": 2 * SAMPLED_ROWS}).fetchall()
    )
    total = sum(counts.values())
    common = {value: count / total for value, count in list(counts.items())[:COMMON]}
    rest = 1.0 - sum(common.values())
    return common | ({OTHERS: rest} if len(counts) > COMMON else {})


def shift(before: Shares, now: Shares) -> float:
    """How far two of them are apart, from 0 (alike) to 1 (nothing in common): their total variation distance."""
    return 0.5 * sum(abs(before.get(value, 0.0) - now.get(value, 0.0)) for value in before.keys() | now.keys())

"""Rows that stay: each one that was there is there still, however many came since, and names the same things.

A count alone does not see a row that is gone where another one came. Kept are hashes of columns that never change; of a
large table the least ones, which are the same part of it whenever one looks. It reads only, in proportion to the table.
"""

from collections.abc import Callable

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import relation
from toolkit.checks import Finding, judge
from toolkit.verify.expectation import LastingRows
from toolkit.verify.fingerprints import row_hash
from toolkit.verify.traces import MEMBER_PREFIX

KEPT_ROWS = 2_000


def lasting_rows(conn: Connection, table: str, columns: tuple[str, ...], member: str | None) -> LastingRows:
    """What to keep of a table; rows of synthetic events (by their `member` column) are not meant to stay."""
    lasting: sql.Composable = sql.SQL("true")
    if member:
        lasting = sql.SQL("NOT starts_with({}, {})").format(sql.Identifier(member), sql.Literal(MEMBER_PREFIX))
    query = sql.SQL(
        """
        SELECT {row} AS hash, count(*) OVER () AS rows
        FROM {table}
        WHERE {lasting}
        ORDER BY hash
        LIMIT %(most)s
        """
    ).format(row=row_hash(conn, table, columns), table=relation(table), lasting=lasting)
    found = conn.execute(query, {"most": KEPT_ROWS}).fetchall()
    return LastingRows(columns=columns, rows=found[0][1] if found else 0, hashes=tuple(row[0] for row in found))


def rows_are_there(table: str, kept: LastingRows) -> Callable[[Connection], Finding]:
    """The question whether each kept row is there."""

    def ask(conn: Connection) -> Finding:
        query = sql.SQL("SELECT hash FROM (SELECT {row} AS hash FROM {table}) AS now WHERE hash <= %(last)s").format(
            row=row_hash(conn, table, kept.columns), table=relation(table)
        )
        now = {row[0] for row in conn.execute(query, {"last": kept.hashes[-1] if kept.hashes else 0})}
        missing = len(set(kept.hashes) - now)
        looked = (
            f"{len(kept.hashes):,} of the {kept.rows:,} rows of before were looked for by {', '.join(kept.columns)}"
        )
        return judge(not missing, f"{looked}; {missing:,} are gone or name something else")

    return ask

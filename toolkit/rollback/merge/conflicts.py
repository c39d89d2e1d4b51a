"""What neither side could decide, row by row, in the target's `toolkit.conflict`: names and keys, never a value.

Owns that table. A conflict is of a mark (the incident), a table, a row's key, and a column ('' for the whole row). It
stays until somebody has looked and settles it; both candidates stand in the live table and in the damaged copy. How it
is read is in `adapters.conflicts`.
"""

from toolkit.adapters.postgres import Connection, sql

SCHEMA_LOCK = 7_021_001

# Reasons. A row or a value was …
OLDER = "older"  # put back from the backup, though the row was written between the backup and the damage
WRITTEN_AFTER = "written-after"  # left as it is live: somebody wrote the row after the damage, which may show in it
NO_RIGHT_VALUE = "no-right-value"  # left as it is live: it came after the backup, and the damage may have hit it
DELETION = "deletion"  # brought back: deleted by the damage, or by somebody on purpose before it
JOB_STATE = "job-state"  # left as it is live: a job does not go back to an earlier state
UNFIT = "unfit"  # left as the backup has it: the restored column's type does not know the live value
LEFT_LIVE = "left live: "  # left as it is live: the constraint of that name does not take the mixture of both
# REFUSED: left as the backup has it: the restored table's constraint of that name does not take it

_TABLES = """
CREATE TABLE IF NOT EXISTS toolkit.conflict (
    mark         text        NOT NULL,
    table_name   text        NOT NULL,
    key          jsonb       NOT NULL,
    column_name  text        NOT NULL DEFAULT '',
    reason       text        NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    settled      text,
    settled_at   timestamptz,
    PRIMARY KEY (mark, table_name, key, column_name)
);
CREATE TABLE IF NOT EXISTS toolkit.merge_watermark (
    mark          text    NOT NULL,
    table_name    text    NOT NULL,
    damaged_oid   oid     NOT NULL,
    restored_oid  oid     NOT NULL,
    since         xid8    NOT NULL,
    rows          bigint  NOT NULL,
    aligned       boolean NOT NULL,
    rules         text    NOT NULL,
    PRIMARY KEY (mark, table_name)
);
"""


def prepare(conn: Connection) -> None:
    """Create what a merge keeps on the target, where it is missing. Safe to repeat and beside others."""
    found = conn.execute("SELECT to_regclass('toolkit.conflict'), to_regclass('toolkit.merge_watermark')").fetchone()
    if found is not None and None not in found:
        return
    conn.execute("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": SCHEMA_LOCK})
    if conn.execute("SELECT to_regnamespace('toolkit')").fetchone() == (None,):
        conn.execute("CREATE SCHEMA toolkit")
    conn.execute(_TABLES)


def list_conflicts(conn: Connection, mark: str, table: str, found: sql.Composable) -> int:
    """Keep what a query (key, column_name, reason) yields; how many. What is listed already gets the newer reason."""
    statement = sql.SQL("""
        INSERT INTO toolkit.conflict AS kept (mark, table_name, key, column_name, reason)
        SELECT DISTINCT ON (key, column_name) {mark}, {table}, key, column_name, reason FROM ({found}) AS found
        ON CONFLICT (mark, table_name, key, column_name) DO UPDATE
        SET reason = excluded.reason, at = now(), settled = NULL, settled_at = NULL
    """).format(mark=sql.Literal(mark), table=sql.Literal(table), found=found)
    return conn.execute(statement).rowcount


def keep_listed(conn: Connection) -> None:
    """Put the list where it stays when the schema `toolkit` is dropped. Nothing where there is none, or one is kept."""
    row = conn.execute(
        """
        SELECT to_regclass('toolkit.conflict') IS NOT NULL AND to_regclass('toolkit_listed.conflict') IS NULL
        """
    ).fetchone()
    if row == (True,):
        conn.execute("CREATE SCHEMA IF NOT EXISTS toolkit_listed")
        conn.execute("ALTER TABLE toolkit.conflict SET SCHEMA toolkit_listed")


def list_again(conn: Connection) -> None:
    """List what was kept, and keep it no more. What is listed already holds, but for what was found again since."""
    if conn.execute("SELECT to_regclass('toolkit_listed.conflict')").fetchone() == (None,):
        return
    prepare(conn)
    conn.execute(
        """
        INSERT INTO toolkit.conflict AS listed
            (mark, table_name, key, column_name, reason, at, settled, settled_at)
        SELECT mark, table_name, key, column_name, reason, at, settled, settled_at
        FROM toolkit_listed.conflict
        ON CONFLICT (mark, table_name, key, column_name) DO UPDATE
        SET reason = excluded.reason, at = excluded.at, settled = excluded.settled, settled_at = excluded.settled_at
        WHERE excluded.at > listed.at
        """
    )
    conn.execute("DROP SCHEMA toolkit_listed CASCADE")

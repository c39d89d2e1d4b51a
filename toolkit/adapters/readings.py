"""What a target's PostgreSQL tells of itself and of the service, each by one bounded question in a reading transaction.

Shared by whoever watches, verifies and assesses, so that all of them count alike. It asks; it judges nothing, and it
knows tables only by the names that the playbook gives.
"""

from dataclasses import dataclass, field

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables import choose, find_state_tables, read_table
from toolkit.errors import RollbackError

DEFAULT_SCHEMA = "public"
FLOW_QUARTERS = 4
COUNTED = 10_000  # events that are counted in a span; more are as good as so many
FEW_PAGES = 4096  # of a table, 32 MB: read in a moment, with an index or without


@dataclass(frozen=True)
class MigrationState:
    """What the state table says. `version` None: no migration is applied, or, where `dirty` is None, it cannot be told.

    `label` is what the tool calls it; the version of one that numbers nothing is how many are applied. `trouble` is why
    it cannot be told.
    """

    version: int | None
    dirty: bool | None
    tool: str | None = field(default=None, compare=False)
    trouble: str = field(default="", compare=False)
    label: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Flow:
    """How old the newest event is, in seconds (None without any), and what came in the span of time before it.

    `events` stops at COUNTED; `quarters` counts in how many quarters of that span there was an event.
    """

    newest_age_s: float | None
    events: int
    quarters: int


@dataclass(frozen=True)
class Activity:
    """Sessions on this database, ours apart. `blocked` wait for a lock that another session holds."""

    sessions: int
    active: int
    blocked: int
    longest_blocked_s: float
    longest_active_s: float


@dataclass(frozen=True)
class QueueState:
    """pg-boss's jobs. `stuck` are active for longer than they may be; `oldest_ready_s` waits although it could run."""

    layout: int
    failed: int
    ready: int
    stuck: int
    oldest_ready_s: float | None


def relation(name: str) -> sql.Identifier:
    """A table's name, `table` or `schema.table`, as an identifier."""
    return sql.Identifier(*split_name(name))


def split_name(name: str) -> tuple[str, str]:
    """Schema and table of `table` or `schema.table`."""
    schema, _, table = name.rpartition(".")
    return schema or DEFAULT_SCHEMA, table


def exists(conn: Connection, name: str) -> bool:
    """Whether there is a table of that name."""
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = %(schema)s AND relname = %(table)s
        )
        """,
        dict(zip(("schema", "table"), split_name(name), strict=True)),
    ).fetchone()
    return row == (True,)


def migration_state(conn: Connection, state_table: str) -> MigrationState:
    """What the state table says, whichever known tool keeps it: the one that is named, or the only one there is."""
    try:
        found = choose(find_state_tables(conn, state_table), state_table)
        recorded = read_table(conn, found)
    except RollbackError as error:
        return MigrationState(None, None, trouble=error.what)
    if recorded.unnumbered:
        return MigrationState(None, None, found.tool, f"{found.tool} gives its versions no number: {recorded}")
    return MigrationState(recorded.version, recorded.dirty, found.tool, label=recorded.label)


def event_flow(conn: Connection, table: str, time: str, span_s: float) -> Flow:
    """When the newest event came, and how steadily they came in the `span_s` seconds before it; COUNTED at most.

    A large table without an index on its time is read at its end only, where the newest rows of one that grows are.
    """
    newest_rows, first = _newest_rows(conn, table, time)
    query = sql.SQL(
        """
        WITH event AS NOT MATERIALIZED ({events}),
        newest AS (SELECT max(event.moment) AS moment FROM event)
        SELECT extract(epoch FROM clock_timestamp() - newest.moment)::float8,
               (SELECT count(*) FROM (
                    SELECT FROM event
                    WHERE event.moment > newest.moment - make_interval(secs => %(span_s)s)
                      AND event.moment <= newest.moment
                    LIMIT %(counted)s) AS recent),
               (SELECT count(*)
                FROM generate_series(0, %(quarters)s - 1) AS quarter,
                     make_interval(secs => %(span_s)s / %(quarters)s) AS long
                WHERE EXISTS (
                    SELECT FROM event
                    WHERE event.moment <= newest.moment - quarter * long
                      AND event.moment > newest.moment - (quarter + 1) * long))
        FROM newest
        """
    )
    given = {"span_s": span_s, "quarters": FLOW_QUARTERS, "counted": COUNTED, "first": first}
    row = conn.execute(query.format(events=newest_rows), given).fetchone()
    assert row is not None
    return Flow(*row)


def _newest_rows(conn: Connection, table: str, time: str) -> tuple[sql.Composed, str]:
    """The events to look at, and where to begin in the table: all of them where that is little work."""
    columns = {"time": sql.Identifier(time), "table": relation(table)}
    row = conn.execute(
        """
        SELECT pg_relation_size(pg_class.oid) / current_setting('block_size')::bigint, EXISTS (
            SELECT FROM pg_index
            JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
            WHERE indrelid = pg_class.oid AND indisvalid AND indpred IS NULL AND attname = %(time)s)
        FROM pg_class
        WHERE oid = %(table)s::text::regclass
        """,
        {"table": relation(table).as_string(conn), "time": time},
    ).fetchone()
    pages, indexed = row or (0, False)
    if indexed or pages <= FEW_PAGES:
        return sql.SQL("SELECT {time} AS moment FROM {table}").format(**columns), "(0,0)"
    last = sql.SQL("SELECT {time} AS moment FROM {table} WHERE ctid >= %(first)s::tid").format(**columns)
    return last, f"({max(0, pages - FEW_PAGES)},0)"


def activity(conn: Connection) -> Activity:
    """Who is busy and who waits for whom. Other roles' sessions are told only to members of pg_monitor."""
    row = conn.execute(
        """
        SELECT count(*),
               count(*) FILTER (WHERE state = 'active'),
               count(*) FILTER (WHERE waits),
               coalesce(max(extract(epoch FROM now() - state_change)) FILTER (WHERE waits), 0)::float8,
               coalesce(max(extract(epoch FROM now() - query_start)) FILTER (WHERE state = 'active'), 0)::float8
        FROM (
            SELECT state, state_change, query_start,
                   wait_event_type = 'Lock' AND cardinality(pg_blocking_pids(pid)) > 0 AS waits
            FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        ) AS sessions
        """
    ).fetchone()
    assert row is not None
    return Activity(*row)


def queue_state(conn: Connection, schema: str) -> QueueState | None:
    """pg-boss's queue, in the layouts of its versions 10 (`expire_in`) and 12 (`expire_seconds`); None without one."""
    job = f"{schema}.job"
    if not exists(conn, job) or not exists(conn, f"{schema}.version"):
        return None
    columns = _columns(conn, job)
    expiry = sql.SQL("make_interval(secs => expire_seconds)" if "expire_seconds" in columns else "expire_in")
    could_run = sql.SQL("state IN ('created', 'retry') AND start_after <= now()")
    if "blocked" in columns:  # a step of a flow, until those before it are done
        could_run = sql.SQL("state IN ('created', 'retry') AND start_after <= now() AND NOT blocked")
    query = sql.SQL(
        """
        SELECT (SELECT max(version) FROM {version}),
               count(*) FILTER (WHERE state = 'failed'),
               count(*) FILTER (WHERE {could_run}),
               count(*) FILTER (WHERE state = 'active' AND started_on + {expiry} < now()),
               extract(epoch FROM now() - min(start_after) FILTER (WHERE {could_run}))::float8
        FROM {job}
        """
    ).format(version=relation(f"{schema}.version"), job=relation(job), expiry=expiry, could_run=could_run)
    row = conn.execute(query).fetchone()
    assert row is not None
    return QueueState(*row)


def _columns(conn: Connection, table: str) -> set[str]:
    rows = conn.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %(table)s::text::regclass AND attnum > 0",
        {"table": relation(table).as_string(conn)},
    ).fetchall()
    return {str(name) for (name,) in rows}

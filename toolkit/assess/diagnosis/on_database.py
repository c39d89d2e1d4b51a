"""What PostgreSQL tells of itself: catalogs and statistics only, never a row of the service's tables."""

from collections.abc import Callable, Mapping
from functools import partial

from toolkit.adapters.postgres import Connection
from toolkit.adapters.readings import split_name
from toolkit.assess.diagnosis.answer import Answer, Row
from toolkit.assess.sessions import waiting_sessions
from toolkit.playbook import Playbook
from toolkit.rollback.statement_text import without_values

MOST = 15  # rows of a table
CROWDED = 0.8  # of the connections that the server has
LONG_S, IDLE_S = 30.0, 60.0
DEAD, MANY_DEAD = 0.2, 10_000
BEHIND_BYTES = 1_000_000_000

Ask = Callable[[Connection], Answer]


def questions(playbook: Playbook) -> Mapping[str, tuple[str, Ask]]:
    """By name: the playbook's command, and how it is asked here."""
    names = playbook.database
    activity, tables = 'psql -c "SELECT * FROM pg_stat_activity"', 'psql -c "SELECT * FROM pg_stat_user_tables"'
    stats = 'psql -c "SELECT … n_distinct, correlation FROM pg_stats LIMIT 10"'
    return {
        "connections": (activity, connections),
        "long queries": (activity, long_queries),
        "locks": (activity, locks),
        "tables": (tables, partial(tables_of, schemas=list(names.schemas))),
        "indexes that are not valid": ("", invalid_indexes),
        "columns": (stats, partial(columns_of, tables=[split_name(each)[1] for each in names.critical_tables])),
        "replication": ("", replication),
        "statements": ("", statements),
    }


def connections(conn: Connection) -> Answer:
    rows = conn.execute(
        """
        SELECT coalesce(usename::text, ''), coalesce(application_name, ''), coalesce(state, 'unknown'), count(*),
               greatest(0, coalesce(max(extract(epoch FROM now() - state_change)), 0))::float8
        FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
        GROUP BY 1, 2, 3
        ORDER BY 4 DESC
        LIMIT %(most)s
        """,
        {"most": MOST},
    ).fetchall()
    used = conn.execute(
        """
        SELECT count(*), current_setting('max_connections')::int
        FROM pg_stat_activity
        WHERE backend_type = 'client backend'
        """
    ).fetchone()
    assert used is not None
    unusual = [
        f"{count} of {role or 'a role'} idle in a transaction, one for {age:.0f} s: it holds its locks"
        for role, _, state, count, age in rows
        if state.startswith("idle in transaction") and age > IDLE_S
    ]
    if used[0] >= CROWDED * used[1]:
        unusual.insert(0, f"{used[0]} of {used[1]} connections are taken")
    told = [
        {"role": role, "application": name, "state": state, "sessions": count, "longest": f"{age:.0f} s"}
        for role, name, state, count, age in rows
    ]
    return Answer(told, unusual)


def long_queries(conn: Connection) -> Answer:
    rows = conn.execute(
        """
        SELECT pid, coalesce(application_name, ''), greatest(0, extract(epoch FROM now() - query_start))::float8,
               coalesce(wait_event_type || ': ' || wait_event, ''), coalesce(query, '')
        FROM pg_stat_activity
        WHERE state = 'active' AND backend_type = 'client backend'
          AND application_name <> current_setting('application_name')
        ORDER BY query_start
        LIMIT %(most)s
        """,
        {"most": MOST},
    ).fetchall()
    told: list[Row] = [
        {"pid": pid, "application": name, "runs for": f"{age:.1f} s", "waits for": wait, "query": without_values(query)}
        for pid, name, age, wait, query in rows
    ]
    return Answer(told, [f"pid {row[0]} runs for {row[2]:.0f} s" for row in rows if row[2] > LONG_S])


def locks(conn: Connection) -> Answer:
    found = waiting_sessions(conn)
    told: list[Row] = [
        {
            "waiting": f"pid {each.pid} ({each.application})",
            "for": each.lock,
            "since": f"{each.waited_s:.1f} s",
            "in the way": "; ".join(map(str, each.blockers)),
        }
        for each in found
    ]
    return Answer(told, [f"pid {each.pid} waits for {each.waited_s:.1f} s for {each.lock}" for each in found])


def tables_of(conn: Connection, schemas: list[str]) -> Answer:
    """Statistics of the largest; sizes by their pages."""
    rows = conn.execute(
        """
        SELECT stat.schemaname || '.' || stat.relname, relpages * current_setting('block_size')::bigint / 1e6,
               n_live_tup, n_dead_tup, seq_scan, coalesce(idx_scan, 0), greatest(last_autovacuum, last_vacuum)
        FROM pg_stat_user_tables AS stat
        JOIN pg_class ON pg_class.oid = relid
        WHERE stat.schemaname = ANY(%(schemas)s)
        ORDER BY relpages DESC, 1
        LIMIT %(most)s
        """,
        {"schemas": schemas, "most": MOST},
    ).fetchall()
    unusual = [
        f"{name} has {dead:,} dead rows beside {live:,}"
        for name, _, live, dead, *_ in rows
        if dead > MANY_DEAD and dead > DEAD * (live + dead)
    ]
    told = [
        {
            "table": name,
            "MB": f"{size:,.1f}",
            "rows": live,
            "dead": dead,
            "scans": f"{seq} whole, {index} by index",
            "vacuumed": f"{at:%Y-%m-%d %H:%M}Z" if at else "never",
        }
        for name, size, live, dead, seq, index, at in rows
    ]
    return Answer(told, unusual)


def invalid_indexes(conn: Connection) -> Answer:
    """What CREATE INDEX CONCURRENTLY leaves behind when it fails: it costs every write, and serves nobody."""
    rows = conn.execute(
        """
        SELECT indexrelid::regclass::text, indrelid::regclass::text
        FROM pg_index
        WHERE NOT indisvalid
        ORDER BY 1
        LIMIT %(most)s
        """,
        {"most": MOST},
    ).fetchall()
    told: list[Row] = [{"index": index, "table": table} for index, table in rows]
    return Answer(told, [f"{index} on {table} is not valid" for index, table in rows])


def columns_of(conn: Connection, tables: list[str]) -> Answer:
    rows = conn.execute(
        """
        SELECT tablename::text, attname::text, n_distinct, null_frac, correlation
        FROM pg_stats
        WHERE tablename = ANY(%(tables)s)
        ORDER BY 1, 2
        LIMIT 40
        """,
        {"tables": tables},
    ).fetchall()
    told: list[Row] = [
        {"table": table, "column": column, "distinct": distinct, "null": f"{null:.0%}", "correlation": correlation}
        for table, column, distinct, null, correlation in rows
    ]
    missing = sorted(set(tables) - {table for table, *_ in rows})
    return Answer(told, [f"{table} was never analysed, or is hidden from us" for table in missing])


def replication(conn: Connection) -> Answer:
    rows = conn.execute(
        """
        SELECT slot_name::text, slot_type, active,
               CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END
        FROM pg_replication_slots
        LIMIT %(most)s
        """,
        {"most": MOST},
    ).fetchall()
    told: list[Row] = [
        {"slot": name, "kind": kind, "active": active, "kept bytes": kept} for name, kind, active, kept in rows
    ]
    idle = [name for name, _, active, _ in rows if not active]
    unusual = [f"slot {name} is read by nobody: the server keeps its log for it" for name in idle]
    unusual += [f"slot {name} is {kept / 1e9:.1f} GB behind" for name, _, _, kept in rows if (kept or 0) > BEHIND_BYTES]
    return Answer(told, unusual)


def statements(conn: Connection) -> Answer:
    """By what they took in all. Failed statements are never in it, and a crash empties it."""
    schema = conn.execute("SELECT extnamespace FROM pg_extension WHERE extname = 'pg_stat_statements'").fetchone()
    if schema is None:
        return Answer([], ["pg_stat_statements is not installed"])
    rows = conn.execute(
        """
        SELECT calls, total_exec_time, mean_exec_time, query
        FROM pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        ORDER BY total_exec_time DESC
        LIMIT %(most)s
        """,
        {"most": MOST},
    ).fetchall()
    told: list[Row] = [
        {"calls": calls, "total": f"{total / 1000:.1f} s", "mean": f"{mean:.1f} ms", "query": without_values(query)}
        for calls, total, mean, query in rows
    ]
    return Answer(told, [f"one takes {mean / 1000:.1f} s each time" for _, _, mean, _ in rows if mean > 1000])

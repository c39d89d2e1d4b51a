"""What is normal, measured while all is well, to be kept with a stable point and compared with after a rollback.

Rates and latencies, the schema's signature, row counts, and fingerprints of what does not change: the events of a
closed span of time, and each row of the quiet tables. Hashes and counts only, no content. It reads only.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import migration_state, relation
from toolkit.adapters.systems import Systems
from toolkit.adapters.traffic import Traffic
from toolkit.adapters.value_shares import value_shares
from toolkit.clock import utc_now
from toolkit.playbook import Database
from toolkit.verify.database import CONTENT_WITHIN_MS, count
from toolkit.verify.expectation import Baseline, EventSlice, QuietRows, SteadyState
from toolkit.verify.fingerprints import columns_of, fingerprint, pin, row_hash, schema_signature
from toolkit.verify.hosting import stale_at_the_stable_point
from toolkit.verify.lasting import lasting_rows
from toolkit.verify.service import broken_down, median_ms, response_times
from toolkit.verify.steady import SteadyWindow

SETTLED_AFTER = timedelta(seconds=10)  # a transaction that began before then has committed
SLICE = timedelta(hours=24)
NO_DEPLOYMENT = ""  # where nobody hosts deployments whom one could ask
QUIET_ROWS = 2_000
SNAPSHOTS_SINCE = 130_000  # pg_current_snapshot


def measure_baseline(systems: Systems, window_s: float) -> dict[str, Any]:
    """Measure what is normal over `window_s` seconds; takes a little longer. JSON, as `Baseline` reads it.

    Raises PlatformError, DatabaseError: half a baseline is none.
    """
    window = SteadyWindow(systems, window_s)
    window.begin()
    return baseline_from(systems, window)


def baseline_from(systems: Systems, window: SteadyWindow) -> dict[str, Any]:
    """The same with a window that was opened before; waits for its end."""
    timings = {path: response_times(systems, path) for path in systems.playbook.endpoints.health_checks}
    latencies = {path: ms for path, taken in timings.items() if (ms := median_ms(taken)) is not None}
    measured: dict[str, object] = {
        "deployment": NO_DEPLOYMENT,
        "latencies": latencies,
        "latency_parts": {path: broken_down(timings[path]) for path in latencies},
    }
    if systems.hosted:
        live = systems.platform.production(systems.production_host)
        measured |= {
            "deployment": live.id,
            "steady_state": _steady(window.traffic()),
            "stale_variables": stale_at_the_stable_point(systems, live),
        }
    found = database_baseline(systems)
    return found.model_copy(update=measured).model_dump(mode="json")


def database_baseline(systems: Systems) -> Baseline:
    """What the database alone tells. Raises DatabaseError."""
    names, identity = systems.playbook.database, systems.database.identity()
    with systems.database.reading(within_ms=CONTENT_WITHIN_MS) as conn:
        migration = migration_state(conn, names.state_table)
        signature = schema_signature(conn, names.schemas)
        rows = {table: count(conn, table) for table in names.critical_tables}
        pin(conn)
        return Baseline(
            measured_at=utc_now(),
            migration_version=migration.version,
            migration_label=migration.label,
            server={"system_identifier": identity.system_identifier, "database": identity.database},
            signature=signature.to_json(),
            rows=rows,
            events=_events(conn, names),
            quiet=_quiet_tables(conn, names),
            lasting={
                table: lasting_rows(conn, table, columns, systems.playbook.verification.traces.get(table))
                for table, columns in names.lasting_columns.items()
            },
            shares={column: value_shares(conn, column) for column in names.watched_columns},
            xid=_next_xid(conn),
        )


def _next_xid(conn: Connection) -> str | None:
    """None on servers before 13, which do not tell."""
    if conn.info.server_version < SNAPSHOTS_SINCE:
        return None
    row = conn.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::xid::text").fetchone()
    return str(row[0]) if row else None


def _steady(traffic: Traffic) -> SteadyState:
    return SteadyState.model_validate(traffic.steady_state())


def _events(conn: Connection, names: Database) -> EventSlice:
    row = conn.execute("SELECT now()").fetchone()
    assert row is not None
    until = row[0] - SETTLED_AFTER
    between = sql.SQL("{time} > %(since)s AND {time} <= %(until)s").format(time=sql.Identifier(names.events_time))
    found = fingerprint(
        conn,
        names.events_table,
        _lasting_columns(conn, names.events_table),
        where=between,
        parameters={"since": until - SLICE, "until": until},
    )
    return EventSlice(columns=found.columns, since=until - SLICE, until=until, rows=found.rows, digest=found.digest)


def _lasting_columns(conn: Connection, table: str) -> tuple[str, ...]:
    """The columns that an event has from the start: never null, and no flag. The others tell what was done about it."""
    rows = conn.execute(
        """
        SELECT attname::text
        FROM pg_attribute
        WHERE attrelid = %(table)s::text::regclass
          AND attnum > 0 AND NOT attisdropped AND attnotnull AND atttypid <> 'boolean'::regtype
        ORDER BY attnum
        """,
        {"table": relation(table).as_string(conn)},
    ).fetchall()
    return tuple(str(name) for (name,) in rows)


def _quiet_tables(conn: Connection, names: Database) -> Mapping[str, QuietRows]:
    found = {table: _quiet_rows(conn, table) for table in names.quiet_tables}
    return {table: rows for table, rows in found.items() if len(rows.hashes) <= QUIET_ROWS}


def _quiet_rows(conn: Connection, table: str) -> QuietRows:
    columns = columns_of(conn, table)
    query = sql.SQL("SELECT {row}::text FROM {table} LIMIT %(most)s").format(
        row=row_hash(conn, table, columns), table=relation(table)
    )
    hashes = sorted(str(digest) for (digest,) in conn.execute(query, {"most": QUIET_ROWS + 1}))
    now = conn.execute("SELECT now()").fetchone()
    assert now is not None
    return QuietRows(columns=columns, at=now[0], hashes=tuple(hashes))

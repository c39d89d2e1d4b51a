"""What the senders met, in figures: rates while it happens, downtime afterwards, and every request for the analysis.

Failed means: no whole answer, a status of 500 or more, or 429. Refusals that a sender must expect (401, 409) are none.
A request whose outcome was never recorded, because the senders ended first, counts nowhere.
"""

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from toolkit.clock import utc_now
from toolkit.drill.ledger.book import micros, reading
from toolkit.errors import ToolkitError

MIN_REQUESTS = 3
DEGRADED_SHARE = 0.10
ROWS_AT_A_TIME = 50_000
END_OF_TIME = 2**62

_ENDED = """
    SELECT ms, failed, event_id IS NOT NULL AND error IS NULL AND ifnull(status, 0) BETWEEN 200 AND 299
    FROM requests
    WHERE answered_at >= ?
"""
_EXPORT = """
    SELECT at, kind, method, path, status, ms, error, deployment, attempt, events.type
    FROM requests
    LEFT JOIN events ON events.id = event_id
    WHERE answered_at IS NOT NULL
    ORDER BY requests.id
"""


@dataclass(frozen=True)
class LiveRates:
    """The requests that ended within the last seconds. Shares are 0 to 1; None where nothing ended. `acknowledged` are
    webhooks."""

    requests: int
    failed: int
    error_rate: float | None
    p95_ms: float | None
    acknowledged: int = 0


@dataclass(frozen=True)
class Totals:
    """Counts over a whole ledger. `unsent` is what there was no capacity to send in time, in events and requests."""

    requests: int
    failed: int
    events: int
    acknowledged: int
    unsent: int


@dataclass(frozen=True)
class Downtime:
    """Whole seconds, as the senders saw them. No second is in both."""

    downtime_s: int
    degraded_s: int


def live(ledger: Path, seconds: float, now: datetime | None = None) -> LiveRates:
    """What ended within `seconds` before `now` (UTC). Cheap: reads no more than that. No ledger yet: nothing ended."""
    if not ledger.exists():
        return LiveRates(0, 0, None, None)
    rows: list[tuple[float, bool, bool]] = []
    since = micros(now or utc_now()) - int(seconds * 1_000_000)
    with contextlib.suppress(ToolkitError), reading(ledger) as book:  # being created
        rows = book.execute(_ENDED, (since,)).fetchall()
    failed, acknowledged = sum(row[1] for row in rows), sum(row[2] for row in rows)
    rate = failed / len(rows) if rows else None
    return LiveRates(len(rows), failed, rate, _p95([row[0] for row in rows]), acknowledged)


def totals(ledger: Path) -> Totals:
    """Counts over the whole ledger. Raises ToolkitError when there is none."""
    with reading(ledger) as book:
        row = book.execute(
            """
            SELECT (SELECT count(*) FROM requests WHERE answered_at IS NOT NULL),
                   (SELECT count(*) FROM requests WHERE failed),
                   (SELECT count(*) FROM events),
                   (SELECT count(*) FROM events WHERE acknowledged_at IS NOT NULL),
                   (SELECT ifnull(sum(count), 0) FROM unsent)
            """
        ).fetchone()
    return Totals(*row)


def downtime(ledger: Path, since: datetime | None = None, until: datetime | None = None) -> Downtime:
    """How long the service was down or degraded for its senders, by the requests sent in [since, until).

    Counted in seconds of the clock. Down: at least MIN_REQUESTS attempts to deliver a webhook were under way, and none
    that was sent in that second was acknowledged. Degraded, where not down: of at least MIN_REQUESTS requests of any
    kind more than DEGRADED_SHARE failed. A request counts in the second in which it was sent; one that failed counts in
    each second until it was given up. Seconds with fewer requests count as neither: they show nothing.
    """
    query = resources.files("toolkit.drill.ledger").joinpath("downtime.sql").read_text(encoding="utf-8")
    bounds = {"since": micros(since) if since else 0, "until": micros(until) if until else END_OF_TIME}
    with reading(ledger) as book:
        row = book.execute(query, bounds | {"min_requests": MIN_REQUESTS, "degraded": DEGRADED_SHARE}).fetchone()
    return Downtime(*row)


def export_requests(ledger: Path, parquet: Path) -> int:
    """Write every request that has an outcome to a Parquet file, oldest first. Returns how many.

    Columns: at (timestamp, µs, UTC), kind, method, path, status (Int16, null without an answer), ms, error, deployment,
    attempt, event_type (null but for webhooks). Nobody's ids.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    schema = pa.schema(
        [
            ("at", pa.timestamp("us", tz="UTC")),
            ("kind", pa.string()),
            ("method", pa.string()),
            ("path", pa.string()),
            ("status", pa.int16()),
            ("ms", pa.float64()),
            ("error", pa.string()),
            ("deployment", pa.string()),
            ("attempt", pa.int16()),
            ("event_type", pa.string()),
        ]
    )
    written = 0
    partial = parquet.with_name(parquet.name + ".partial")
    try:
        with reading(ledger) as book, pq.ParquetWriter(partial, schema) as file:
            rows = book.execute(_EXPORT)
            while batch := rows.fetchmany(ROWS_AT_A_TIME):
                columns = zip(zip(*batch, strict=True), schema.types, strict=True)
                file.write_table(pa.table([pa.array(column, kind) for column, kind in columns], schema=schema))
                written += len(batch)
        partial.replace(parquet)
    except OSError as error:
        raise ToolkitError(f"{parquet} cannot be written: {error}", state="the ledger is whole") from error
    finally:
        partial.unlink(missing_ok=True)
    return written


def _p95(latencies: Sequence[float]) -> float | None:
    if not latencies:
        return None
    return latencies[0] if len(latencies) == 1 else statistics.quantiles(latencies, n=20, method="inclusive")[-1]

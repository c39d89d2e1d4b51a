"""What the senders met, second by second, up to now: for a chart that gives away no more than any dashboard would.

It reads the senders' ledger while they write it, and nothing of the sandbox.
"""

import contextlib
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from toolkit.drill.ledger import reading
from toolkit.drill.ledger.book import micros
from toolkit.errors import ToolkitError

_ENDED = "SELECT answered_at, ms, failed FROM requests WHERE answered_at >= ? AND answered_at < ?"
COLUMNS = ("begin", "per_s", "failed_share", "p95_ms")


def lately(ledger: Path, now: datetime, seconds: float, every_s: int) -> pd.DataFrame:
    """The last `seconds` before `now` (UTC) in bins of `every_s` seconds that have ended, by when requests ended.

    Columns: begin (UTC), per_s, failed_share (0 to 1), p95_ms; the last two are missing where nothing ended in a bin.
    From the first request on; without any it has no rows.
    """
    first = micros(now - timedelta(seconds=seconds))
    rows: list[tuple[int, float, bool]] = []
    if ledger.exists():
        with contextlib.suppress(ToolkitError), reading(ledger) as book:  # being created
            rows = book.execute(_ENDED, (first, micros(now))).fetchall()
    frame = pd.DataFrame(rows, columns=["at", "ms", "failed"]).astype({"ms": float, "failed": float})
    width = every_s * 1_000_000
    bins = frame.assign(bin=frame["at"] // width).groupby("bin")
    found = pd.DataFrame(
        {"per_s": bins.size() / every_s, "failed_share": bins["failed"].mean(), "p95_ms": bins["ms"].quantile(0.95)}
    )
    last = micros(now) // width  # the bin that is not over yet
    begun = max(int(found.index.min()), first // width + 1) if len(found) else last
    found = found.reindex(range(begun, last))
    found["per_s"] = found["per_s"].fillna(0.0)
    found.insert(0, "begin", pd.to_datetime([each * width for each in found.index], unit="us", utc=True))
    return found.reset_index(drop=True)

"""Whom the incident met, and how much money their events tell of: counts and sums, never a name.

The senders' ledger says of each event whose it is, what amount it carries, which attempts failed and when it was
acknowledged. Where nobody kept such a ledger, as outside of drills, there is nothing to count.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from toolkit.analysis.references import Reference, Source

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Ids stay in the file: of a membership only that it is the same one is read.
_EVENTS = """
SELECT dense_rank() OVER (ORDER BY membership) AS member,
       type,
       amount,
       first_attempt_at,
       acknowledged_at,
       EXISTS (SELECT 1 FROM requests WHERE event_id = events.id AND kind = 'webhook' AND failed) AS failed
FROM events
ORDER BY first_attempt_at, id
"""


@dataclass(frozen=True)
class Amount:
    """What the failed events of one type sum up to, in cents of the events' own currency."""

    type: str
    events: int
    cents: int


@dataclass(frozen=True)
class Affected:
    """Events of which an attempt failed. `undelivered` were never acknowledged; `latest_s` is the longest delay."""

    events: int
    memberships: int
    undelivered: int
    undelivered_cents: int
    latest_s: float | None
    amounts: tuple[Amount, ...]
    reference: Reference


def read_events(path: Path) -> pd.DataFrame:
    """Every event of a ledger, in the order in which it was sent first.

    Columns: position (from 1), at (UTC), member (a number for each membership), type, amount (cents), failed (whether
    an attempt did), delay_s (from the first attempt to the acknowledgement; nan: never).
    """
    with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as ledger:
        rows = ledger.execute(_EVENTS).fetchall()
    frame = pd.DataFrame(rows, columns=["member", "type", "amount", "first", "acknowledged", "failed"])
    frame.insert(0, "position", range(1, len(frame) + 1))
    frame["at"] = pd.Series(
        [EPOCH + timedelta(microseconds=moment) for moment in frame["first"]], dtype="datetime64[us, UTC]"
    )
    frame["failed"] = frame["failed"].astype(bool)
    frame["delay_s"] = (pd.to_numeric(frame["acknowledged"]) - frame["first"]) / 1e6
    return frame.drop(columns=["first", "acknowledged"])


def measure_affected(events: pd.DataFrame) -> Affected:
    """Count those of which an attempt failed."""
    failed = events[events["failed"]]
    undelivered = failed[failed["delay_s"].isna()]
    late = failed["delay_s"].dropna()
    return Affected(
        events=len(failed),
        memberships=int(failed["member"].nunique()),
        undelivered=len(undelivered),
        undelivered_cents=int(undelivered["amount"].sum()),
        latest_s=float(late.max()) if len(late) else None,
        amounts=tuple(Amount(str(kind), len(rows), int(rows["amount"].sum())) for kind, rows in failed.groupby("type")),
        reference=Reference(Source.EVENTS),
    )

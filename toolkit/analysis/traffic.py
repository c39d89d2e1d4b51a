"""The requests that the analysis rests on: those that the senders recorded or, without them, the service's own log.

It says which of the two it is, because they can see different things: a log holds no request that was never answered.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

import pandas as pd

from toolkit.analysis.onset import Scan, Stretch, Turn, scan
from toolkit.analysis.references import Reference, Source
from toolkit.analysis.sources import Evidence, finish_requests
from toolkit.playbook import Playbook

WEBHOOK, READ, CRON = "webhook", "read", "cron"
TOLD_BY = {
    Source.REQUESTS: "the senders' record of their requests",
    Source.LOG: "the service's own log, which holds no request that it never answered",
}


@dataclass(frozen=True)
class Traffic:
    """Requests by time sent (columns as in `sources`), and what the scan for a raised error rate found in them."""

    frame: pd.DataFrame
    source: Source
    scan: Scan

    @property
    def told_by(self) -> str:
        return TOLD_BY[self.source]

    @property
    def main(self) -> Stretch | None:
        return self.scan.main

    def time(self, place: int) -> datetime:
        """When the request at this place (from 0) was sent, UTC."""
        return cast(pd.Timestamp, self.frame["at"].iloc[place]).to_pydatetime()

    def times(self, turn: Turn) -> tuple[datetime, datetime, datetime]:
        """(at, earliest, latest) of a turn, UTC."""
        return self.time(turn.at), self.time(turn.after), self.time(turn.until)

    def cite(self, begin: int, end: int | None = None) -> Reference:
        """The requests from place `begin` up to `end` (exclusive); one request without `end`."""
        position = self.frame["position"]
        first = int(position.iloc[begin])
        return Reference(self.source, first, int(position.iloc[end - 1]) if end is not None else None)

    @property
    def whole(self) -> Reference:
        return Reference(self.source)


def read_traffic(evidence: Evidence, playbook: Playbook) -> Traffic | None:
    """The best record of requests that there is; None without any."""
    if evidence.requests is not None:
        return Traffic(evidence.requests, Source.REQUESTS, scan(evidence.requests["failed"].to_numpy(dtype=bool)))
    if evidence.log is None:
        return None
    frame = _from_log(evidence.log, playbook)
    return None if frame.empty else Traffic(frame, Source.LOG, scan(frame["failed"].to_numpy(dtype=bool)))


def _from_log(log: pd.DataFrame, playbook: Playbook) -> pd.DataFrame:
    """The log's requests without the probes of health endpoints, which are no traffic but the monitor's.

    A line is written when the answer is: what was sent when follows from how long it took.
    """
    places = playbook.endpoints
    probes = {places.health, *places.health_checks}
    frame = log[~log["path"].isin(probes)].drop(columns="failed").copy()
    kinds = {places.webhook: WEBHOOK, places.scheduler: CRON}
    frame["kind"] = frame["path"].map(lambda path: kinds.get(path, READ))
    frame["error"], frame["attempt"] = None, pd.NA
    frame["ms"] = frame["ms"].fillna(0.0)
    frame["at"] = frame["at"] - pd.to_timedelta(frame["ms"], unit="ms").astype("timedelta64[us]")
    return finish_requests(frame)

"""What the incident did to requests: how many failed, how, for how long, how slow, on which deployment. No names.

Windows: `before` the onset, `during` it up to the recovery (or the end of the evidence), `after`. Without an onset
there is one window, `all`. Down and degraded seconds are defined as the senders' ledger defines them, so that a report
and a score say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.analysis.references import Reference, Source
from toolkit.analysis.traffic import WEBHOOK, Traffic

MIN_REQUESTS = 3  # a second with fewer shows nothing
LONGEST_SPAN_S = 600
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Window:
    """Requests sent in one part of the time; `reference` cites them. Milliseconds; None where nothing was answered."""

    name: str
    begin: datetime
    end: datetime
    requests: int
    failed: int
    latency_ms: Mapping[str, float | None]
    reference: Reference

    @property
    def error_rate(self) -> float:
        return self.failed / self.requests


@dataclass(frozen=True)
class FailureClass:
    """Requests that failed alike. `how` is a status, or what kept an answer away. `reference` spans first to last."""

    count: int
    method: str
    path: str
    how: str
    sqlstate: str | None
    relation: str | None
    constraint: str | None
    message: str | None
    first: datetime
    last: datetime
    reference: Reference

    @property
    def title(self) -> str:
        said = f"{self.how} on {self.method} {self.path}"
        return f"{said} (SQLSTATE {self.sqlstate})" if self.sqlstate else said


@dataclass(frozen=True)
class DeploymentShare:
    """What one deployment answered. `first` and `last` bound the requests it answered, UTC."""

    deployment: str
    requests: int
    failed: int
    first: datetime
    last: datetime
    reference: Reference


@dataclass(frozen=True)
class Impact:
    """`failures` are as the senders met them, `logged` as the service logged them; `per_second` is `over_time`."""

    windows: tuple[Window, ...]
    downtime_s: int
    degraded_s: int
    failures: tuple[FailureClass, ...]
    logged: tuple[FailureClass, ...]
    deployments: tuple[DeploymentShare, ...]
    per_second: pd.DataFrame
    reference: Reference

    def window(self, name: str) -> Window | None:
        return next((window for window in self.windows if window.name == name), None)


def measure_impact(
    traffic: Traffic, log: pd.DataFrame | None, *, since: datetime | None, degraded_share: float
) -> Impact:
    """Count. Down and degraded seconds count from `since` (UTC); None counts all."""
    down, degraded = _bad_seconds(traffic.frame, since, degraded_share)
    own = traffic.source is Source.REQUESTS
    return Impact(
        windows=_windows(traffic),
        downtime_s=down,
        degraded_s=degraded,
        failures=failure_classes(traffic.frame, traffic.source) if own else (),
        logged=failure_classes(log, Source.LOG) if log is not None else (),
        deployments=_deployments(traffic),
        per_second=over_time(traffic.frame),
        reference=traffic.whole,
    )


def _windows(traffic: Traffic) -> tuple[Window, ...]:
    total, stretch = len(traffic.frame), traffic.main
    if stretch is None:
        return (_window("all", traffic, 0, total),)
    bounds = {"before": (0, stretch.begin), "during": (stretch.begin, stretch.end), "after": (stretch.end, total)}
    return tuple(_window(name, traffic, *ends) for name, ends in bounds.items() if ends[0] < ends[1])


def _window(name: str, traffic: Traffic, begin: int, end: int) -> Window:
    rows = traffic.frame.iloc[begin:end]
    answered = rows.loc[rows["status"].notna(), "ms"]
    latency = {label: float(answered.quantile(q)) if len(answered) else None for label, q in QUANTILES.items()}
    return Window(
        name,
        traffic.time(begin),
        traffic.time(end - 1),
        len(rows),
        int(rows["failed"].sum()),
        latency,
        traffic.cite(begin, end),
    )


def over_time(frame: pd.DataFrame, every_s: int = 1) -> pd.DataFrame:
    """Counts, error rate and latency for each `every_s` seconds of the clock, those without requests included.

    Columns: begin (UTC), requests, failed, error_rate, p50_ms, p95_ms; no rate and no latency where nothing was sent.
    """
    begins = frame["at"].dt.floor(f"{every_s}s").rename("begin")
    grouped = frame.groupby(begins)
    table = pd.DataFrame({"requests": grouped.size(), "failed": grouped["failed"].sum()})
    quantiles = frame.loc[frame["status"].notna()].groupby(begins)["ms"].quantile(np.array([0.5, 0.95])).unstack()
    table[["p50_ms", "p95_ms"]] = quantiles.reindex(index=table.index, columns=[0.5, 0.95])
    every = pd.date_range(table.index[0], table.index[-1], freq=f"{every_s}s", name="begin")
    table = table.reindex(every)
    table[["requests", "failed"]] = table[["requests", "failed"]].fillna(0).astype(int)
    table.insert(2, "error_rate", table["failed"] / table["requests"].where(table["requests"] > 0))
    return table.reset_index()


def failure_classes(frame: pd.DataFrame, source: Source) -> tuple[FailureClass, ...]:
    """Failed requests that are alike, the most frequent first."""
    failed = frame.loc[frame["failed"]].copy()
    if failed.empty:
        return ()
    for column in ("sqlstate", "relation", "constraint", "message", "error"):
        if column not in failed:
            failed[column] = None
    status = failed["status"].astype("string")
    failed["how"] = status.where(failed["status"].fillna(0) > 0).fillna(failed["error"].astype("string"))
    failed["how"] = failed["how"].fillna("no answer")
    alike = ["method", "path", "how", "sqlstate", "relation", "constraint"]
    groups = [_failure_class(rows, source) for _, rows in failed.groupby(alike, dropna=False, sort=False)]
    return tuple(sorted(groups, key=lambda each: (-each.count, each.first)))


def _failure_class(rows: pd.DataFrame, source: Source) -> FailureClass:
    rows = rows.sort_values("at", kind="stable")
    one = rows.iloc[0]

    def said(column: str) -> str | None:
        return None if pd.isna(one[column]) else str(one[column])

    return FailureClass(
        count=len(rows),
        method=said("method") or "?",
        path=said("path") or "?",
        how=str(one["how"]),
        sqlstate=said("sqlstate"),
        relation=said("relation"),
        constraint=said("constraint"),
        message=said("message"),
        first=rows["at"].iloc[0].to_pydatetime(),
        last=rows["at"].iloc[-1].to_pydatetime(),
        reference=Reference(source, int(rows["position"].iloc[0]), int(rows["position"].iloc[-1])),
    )


def _deployments(traffic: Traffic) -> tuple[DeploymentShare, ...]:
    """In the order in which they first answered."""
    answered = traffic.frame[traffic.frame["deployment"].notna()]
    shares = []
    for deployment, rows in answered.groupby("deployment", sort=False):
        ends = int(rows["position"].iloc[0]), int(rows["position"].iloc[-1])
        first, last = rows["at"].iloc[0].to_pydatetime(), rows["at"].iloc[-1].to_pydatetime()
        reference = Reference(traffic.source, *ends)
        shares.append(DeploymentShare(str(deployment), len(rows), int(rows["failed"].sum()), first, last, reference))
    return tuple(shares)


def _bad_seconds(frame: pd.DataFrame, since: datetime | None, degraded_share: float) -> tuple[int, int]:
    """(down, degraded) seconds of the clock; no second is in both.

    Down: at least MIN_REQUESTS attempts to deliver a webhook were under way, and none sent in that second was
    acknowledged. Degraded: of at least MIN_REQUESTS requests more than `degraded_share` failed. A failed request counts
    in each second until it was given up, so that a service that hangs is seen to hang.
    """
    rows = frame[frame["at"] >= since] if since is not None else frame
    if rows.empty:
        return 0, 0
    failed = rows["failed"].to_numpy(dtype=bool)
    webhook = (rows["kind"] == WEBHOOK).to_numpy(dtype=bool)
    acknowledged = webhook & rows["status"].between(200, 299).fillna(False).to_numpy(dtype=bool)
    acknowledged &= rows["error"].isna().to_numpy(dtype=bool)
    begin, end = _seconds(rows["at"]), _seconds(rows["end"])
    spans = np.where(failed, np.clip(end - begin, 0, LONGEST_SPAN_S), 0) + 1
    # a request appears once for each second in which it counts
    which = np.repeat(np.arange(len(rows)), spans)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(spans) - spans, spans)
    table = pd.DataFrame(
        {
            "second": begin[which] + nth,
            "webhook": webhook[which],
            "failed": failed[which],
            "acknowledged": acknowledged[which],
        }
    )
    sums = table.groupby("second").sum()
    requests = table.groupby("second").size()
    down = (sums["webhook"] >= MIN_REQUESTS) & (sums["acknowledged"] == 0)
    degraded = ~down & (requests >= MIN_REQUESTS) & (sums["failed"] > degraded_share * requests)
    return int(down.sum()), int(degraded.sum())


def _seconds(times: "pd.Series[pd.Timestamp]") -> NDArray[np.int64]:
    """Whole seconds since 1970."""
    return np.asarray(times.astype("int64"), dtype=np.int64) // np.int64(1_000_000)

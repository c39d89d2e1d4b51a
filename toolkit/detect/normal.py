"""What is normal: as recorded when all was verified, else as the service itself shows in its first good while."""

import statistics
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.adapters.postgres import Database
from toolkit.adapters.traffic import Traffic
from toolkit.adapters.value_shares import Shares
from toolkit.detect.seen import Jump, Limits

FULL_WINDOW = 0.95
LEARNING_WINDOWS = 3
FIGURES_KEPT, FIGURES_NEEDED = 12, 5
SETTLED_LOOKS = 240  # a figure that stays so long where it jumped to is what is normal now


@dataclass(frozen=True)
class Normal:
    """What was recorded when all was verified: the version, the 95th percentile in ms, how values were spread, how
    many rows each critical table had."""

    version: int | None = None
    p95_ms: float | None = None
    shares: Mapping[str, Shares] | None = None
    rows: Mapping[str, int] | None = None


class OwnNormal:
    """Where nobody recorded what is normal: the slowest of the first full windows in which nearly all went well.

    One window is too little to learn from: the first may hold an idle moment, and the next are no worse.
    """

    def __init__(self, window_s: float, limits: Limits) -> None:
        self._window_s, self._limits = window_s, limits
        self._learnt_at: float | None = None
        self._p95_ms: float | None = None

    def learn(self, traffic: Traffic | None, now: float) -> float | None:
        """Take in what one poll saw at `now` (monotonic seconds). The 95th percentile in ms once it is known."""
        if traffic is not None and self._tells(traffic):
            if self._learnt_at is None:
                self._learnt_at = now + (LEARNING_WINDOWS - 1) * self._window_s
            if now <= self._learnt_at:
                self._p95_ms = max(self._p95_ms or 0.0, traffic.p95_ms or 0.0) or None
        return self._p95_ms if self._learnt_at is not None and now >= self._learnt_at else None

    def _tells(self, traffic: Traffic) -> bool:
        full = traffic.window_s >= FULL_WINDOW * self._window_s and traffic.requests >= self._limits.min_requests
        return full and (traffic.error_rate or 0) <= self._limits.error_rate / 2


class Figures:
    """What the service showed lately, figure by figure, and by how much one is suddenly another."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.kpi_jump
        self._kept: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=FIGURES_KEPT))
        self._jumped: dict[str, int] = {}

    def learn(self, shown: Mapping[str, float]) -> list[Jump]:
        """Take in one look; each figure against the median of those before. Nothing of one that is new."""
        found = []
        for name, now in shown.items():
            kept = self._kept[name]
            jump = Jump(name, now, statistics.median(kept)) if len(kept) >= FIGURES_NEEDED else None
            if jump is not None:
                found.append(jump)
            self._keep(name, now, jumped=jump is not None and jump.share > self._most)
        return found

    def _keep(self, name: str, now: float, *, jumped: bool) -> None:
        """What jumped is not normal, unless it stays."""
        self._jumped[name] = self._jumped.get(name, 0) + 1 if jumped else 0
        if self._jumped[name] >= SETTLED_LOOKS:
            self._kept[name].clear()
        if not jumped or self._jumped[name] >= SETTLED_LOOKS:
            self._kept[name].append(now)


def recorded_normal(database: Database) -> Normal:
    """What the newest stable point tells, as far as it is known. Raises DatabaseError."""
    points = database.stable_points()
    if not points:
        return Normal()
    baseline = points[0].baseline
    steady, shares, rows = (baseline.get(name) for name in ("steady_state", "shares", "rows"))
    p95 = steady.get("p95_ms") if isinstance(steady, Mapping) else None
    return Normal(
        points[0].version,
        float(p95) if isinstance(p95, int | float) else None,
        shares if isinstance(shares, Mapping) else None,
        {name: int(count) for name, count in rows.items()} if isinstance(rows, Mapping) else None,
    )

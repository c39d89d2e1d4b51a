"""The steady state: what the service's requests are like over a window, and whether that is as it was before.

Read from the platform's runtime logs, so that it works for any service there; none of it is the toolkit's own doing.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from toolkit.adapters.systems import Systems
from toolkit.adapters.traffic import LoggedRequest, Reader, Traffic, summarise
from toolkit.checks import Check, Finding, failed, judge, unknown
from toolkit.playbook import Playbook, Thresholds
from toolkit.verify.expectation import Expectation, SteadyState
from toolkit.verify.once import Once

AREA = "steady state"
ERROR_RATE_MARGIN = 0.01
FEWEST_REQUESTS = 20


def request_reader(playbook: Playbook) -> Reader:
    """Reads log lines as requests; health endpoints do not count."""
    return Reader(frozenset(path.partition("?")[0] for path in playbook.endpoints.health_checks))


def steady_state(systems: Systems, window_s: float) -> Traffic:
    """The requests that production's deployment answers in the next `window_s` seconds. Takes as long.

    Raises PlatformError when its log cannot be followed.
    """
    deployment = systems.platform.production(systems.production_host)
    reader, requests, began = request_reader(systems.playbook), list[LoggedRequest](), time.monotonic()
    for line in systems.platform.runtime_logs(deployment.id, within=window_s):
        if request := reader.read(line):
            requests.append(request)
    return summarise(requests, time.monotonic() - began)


class SteadyWindow:
    """A window that is measured in the background, so that other checks are made meanwhile."""

    def __init__(self, systems: Systems, window_s: float) -> None:
        self._window_s = window_s
        self._measured = Once(lambda: steady_state(systems, window_s))
        self._thread: threading.Thread | None = None
        self._began_s = time.monotonic()

    def begin(self) -> None:
        """Open the window. Later calls do nothing."""
        if self._thread is None:
            self._began_s = time.monotonic()
            self._thread = threading.Thread(target=self._measure, daemon=True)
            self._thread.start()

    @property
    def age_s(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._began_s

    def traffic(self) -> Traffic:
        """What was measured; waits for the end of the window. Raises PlatformError."""
        self.begin()
        return self._measured.seen()

    def during(self, check: Check) -> Check:
        """The same check, which opens the window first."""

        def look() -> Finding:
            self.begin()
            return check.look()

        return replace(check, look=look)

    def _measure(self) -> None:
        try:
            self._measured.seen()
        except Exception:  # kept, and raised to whoever asks for the traffic
            return


def steady_checks(systems: Systems, expectation: Expectation, window: SteadyWindow) -> list[Check]:
    """Error rate and latency over the window against the playbook's thresholds and against the stable point.

    None without a platform, whose logs alone tell of the requests: then the endpoints' response times are all there is.
    """
    if not systems.hosted:
        return []
    before, thresholds = expectation.baseline.steady_state, systems.thresholds

    def judged(judge_it: Callable[[Traffic, SteadyState, Thresholds], Finding]) -> Finding:
        now = window.traffic()
        if now.requests < FEWEST_REQUESTS:
            return unknown(f"only {now.requests} requests came in {now.window_s:.1f} s; {FEWEST_REQUESTS} are needed")
        if before is None:
            return unknown(f"{_rate(now)}, {_p95(now.p95_ms)}; no steady state was recorded to compare with")
        return judge_it(now, before, thresholds)

    return [
        Check("the error rate is as before", AREA, lambda: judged(judge_error_rate)),
        Check("the latency is as before", AREA, lambda: judged(judge_latency)),
    ]


def judge_error_rate(now: Traffic, before: SteadyState, thresholds: Thresholds) -> Finding:
    """Below the playbook's threshold, and no worse than before by more than a margin or one request."""
    rate, normal = now.error_rate, before.error_rate or 0.0
    if rate is None:
        return unknown("no request came")
    margin = max(ERROR_RATE_MARGIN, 1 / now.requests)
    evidence = f"{_rate(now)}; before: {normal:.1%} of {before.requests}"
    if rate > thresholds.error_rate:
        return failed(f"{evidence}; the playbook allows {thresholds.error_rate:.0%}")
    return judge(rate <= normal + margin, evidence + (f"; {now.errors[0][0].message}" if now.errors else ""))


def judge_latency(now: Traffic, before: SteadyState, thresholds: Thresholds) -> Finding:
    """The 95th percentile, allowed to degrade as far as the playbook says; below its 'fast enough' anything goes."""
    if now.p95_ms is None or before.p95_ms is None:
        return unknown(f"{_p95(now.p95_ms)} now, {_p95(before.p95_ms)} before: nothing to compare")
    allowed = allowed_ms(before.p95_ms, thresholds)
    evidence = (
        f"{_p95(now.p95_ms)} of {now.requests} requests; before: {_p95(before.p95_ms)}; allowed: {allowed:.0f} ms"
    )
    return judge(now.p95_ms <= allowed, evidence)


def allowed_ms(before_ms: float, thresholds: Thresholds) -> float:
    """How slow is slow, in milliseconds, for what took `before_ms` in normal times."""
    return max(before_ms * (1 + thresholds.degradation), thresholds.fast_enough_ms)


def _rate(now: Traffic) -> str:
    return f"{now.failed} of {now.requests} requests failed in {now.window_s:.1f} s ({now.error_rate or 0:.1%})"


def _p95(ms: float | None) -> str:
    return "no latency is known" if ms is None else f"p95 {ms:.0f} ms"

"""The requests of the last while, kept by one thread and read by another, and the figures of a window of them."""

import threading
import time
from collections import deque
from collections.abc import Callable

from toolkit.adapters.traffic import LoggedRequest, Traffic, summarise

MOST_REQUESTS = 200_000


class RequestWindow:
    """`keep_s`: how long a request is kept. `began` is when somebody first listened; nothing is known of before."""

    def __init__(self, keep_s: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._keep_s, self._now = keep_s, now
        self._requests: deque[LoggedRequest] = deque(maxlen=MOST_REQUESTS)
        self._lock = threading.Lock()
        self.began: float | None = None

    def begin(self) -> None:
        """Somebody listens from now on. Only the first time counts."""
        self.began = self._now() if self.began is None else self.began

    def keep(self, request: LoggedRequest) -> None:
        with self._lock:
            self._requests.append(request)
            while self._requests and self._requests[0].arrived_s < request.arrived_s - self._keep_s:
                self._requests.popleft()

    def last(self, seconds: float) -> Traffic:
        """Of the last `seconds`, or of the time since somebody listened where that is less."""
        now = self._now()
        since = max(now - seconds, now if self.began is None else self.began)
        with self._lock:
            recent = [request for request in self._requests if request.arrived_s >= since]
        return summarise(recent, now - since)

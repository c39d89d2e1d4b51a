"""Requests of our own: health endpoints, pages, and the figures that the service shows, each asked again and again.

Every path has a thread and a client of its own, and a short deadline. How they went is kept as a window of requests:
that is the error rate and the latency where users' requests are few, or where no log tells of them.
"""

import json
import time
from collections.abc import Callable, Mapping

from toolkit.adapters.request_window import RequestWindow
from toolkit.adapters.service import ServiceClient
from toolkit.adapters.systems import Systems
from toolkit.adapters.traffic import LoggedRequest, Traffic
from toolkit.detect.seen import OK, Probes
from toolkit.detect.watch import Watch

PROBE_WITHIN_S = 3.0
PAGES_EVERY_S = 2.0
FIGURES_EVERY_S = 5.0
ASKED_AGAIN_WITHIN_MS = 500.0  # what failed at once is asked at once again; what hung has waited enough
NO_ANSWER = "no answer"

Word = Callable[[ServiceClient, str], tuple[str, float]]


class Probing:
    """All that is asked of the service. `health` and `pages` are words, `figures` are numbers; none of them waits."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        monitoring, paths = systems.target.monitoring, systems.playbook.endpoints
        every_s = monitoring.poll_every_s
        self._requests = RequestWindow(monitoring.window_s)
        self._window_s = monitoring.window_s
        self._health = {path: self._probe(path, every_s, _health_word) for path in paths.health_checks}
        self._pages = {path: self._probe(path, max(every_s, PAGES_EVERY_S), _page_word) for path in paths.pages}
        self._figures = self._figures_watch(max(every_s, FIGURES_EVERY_S))
        self._words: dict[str, str] = {}

    @property
    def watches(self) -> list[Watch[str] | Watch[dict[str, float]]]:
        return [*self._health.values(), *self._pages.values(), self._figures]

    def health(self) -> Probes:
        return self._probes(self._health)

    def pages(self) -> Probes:
        return self._probes(self._pages)

    def figures(self) -> dict[str, float] | None:
        """What the service showed since the last time; None when it was not asked since then or did not say."""
        return self._figures.take() or None

    def window(self) -> Traffic:
        """How our own requests of the last window went."""
        return self._requests.last(self._window_s)

    def _client(self) -> ServiceClient:
        """One for each thread, with a short deadline."""
        config = self._systems.service.config
        return ServiceClient(config.model_copy(update={"timeout_s": min(config.timeout_s, PROBE_WITHIN_S)}))

    def _probe(self, path: str, every_s: float, word: Word) -> Watch[str]:
        client = self._client()

        def ask() -> str:
            self._requests.begin()
            told, ms = word(client, path)
            if told != OK and ms < ASKED_AGAIN_WITHIN_MS:  # one failed request is none yet
                told, ms = word(client, path)
            status = 200 if told == OK else 500
            self._requests.keep(LoggedRequest(time.monotonic(), "GET", path, status, ms if told == OK else None))
            return told

        return Watch(path, ask, every_s, client.close)

    def _probes(self, watches: Mapping[str, Watch[str]]) -> Probes:
        fresh = {}
        for path, watch in watches.items():
            word = watch.take()
            if word is None and watch.overdue:
                word = NO_ANSWER
            if word is not None:
                fresh[path] = word
        self._words |= fresh
        return Probes({path: self._words[path] for path in watches if path in self._words}, frozenset(fresh))

    def _figures_watch(self, every_s: float) -> Watch[dict[str, float]]:
        """The numbers of [verification] figures; the lines of an export are too much to fetch again and again."""
        client = self._client()
        wanted = [(each.path, each.field) for each in self._systems.playbook.verification.figures if each.field]

        def ask() -> dict[str, float]:
            shown = {f"{field} of {path}": _number(client, path, field) for path, field in wanted}
            return {name: number for name, number in shown.items() if number is not None}

        return Watch("the service's figures", ask, every_s, client.close)


def _health_word(service: ServiceClient, path: str) -> tuple[str, float]:
    health = service.probe(path)
    if health.status_code is None:
        return f"{NO_ANSWER} ({health.error})", health.latency_ms
    if health.healthy:
        return OK, health.latency_ms
    told = str(health.status_code) if health.status_code != 200 else (health.error or health.status or "no status")
    return told, health.latency_ms


def _page_word(service: ServiceClient, path: str) -> tuple[str, float]:
    answer = service.fetch(path)
    if answer.status_code is None:
        return f"{NO_ANSWER} ({answer.error})", answer.ms
    return (OK if answer.acknowledged else (answer.error or str(answer.status_code))), answer.ms


def _number(service: ServiceClient, path: str, field: str) -> float | None:
    answer = service.fetch(path)
    try:
        shown = json.loads(answer.text)[field] if answer.acknowledged else None
    except (ValueError, KeyError, TypeError):
        return None
    return float(shown) if isinstance(shown, int | float) and not isinstance(shown, bool) else None

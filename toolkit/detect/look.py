"""One look at a target, for a person: every signal as it stands just now. It writes nothing and opens nothing.

Hysteresis needs time, and a look has none: what is breached here is told as breached, not as raised.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.adapters.systems import Systems
from toolkit.detect.observe import Observer
from toolkit.detect.seen import NOT_SEEN, Limits, Reading, Signal
from toolkit.detect.severity import Classification, classify
from toolkit.detect.signals import read_signals

LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Look:
    """The latest that is known of each signal, and what those that are breached would amount to if it lasted."""

    readings: Mapping[Signal, Reading]
    found: Classification | None

    @property
    def breached(self) -> Mapping[Signal, Reading]:
        return {signal: each for signal, each in self.readings.items() if each.breached}

    @property
    def unknown(self) -> tuple[Signal, ...]:
        """Signals that nothing was seen of. They are not well because of that."""
        return tuple(signal for signal, each in self.readings.items() if each.breached is None)


def look_once(systems: Systems, within_s: float) -> Look:
    """Watch for `within_s` seconds. Nothing of the target can make it take longer."""
    limits, known = Limits.of(systems.playbook, systems.target), dict.fromkeys(Signal, NOT_SEEN)
    observer = Observer(systems)
    observer.start()
    try:
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(LOOK_EVERY_S, left))
            readings = read_signals(observer.poll(), limits)
            known |= {signal: each for signal, each in readings.items() if each.breached is not None}
    finally:
        observer.end()
    return Look(known, classify({s: each for s, each in known.items() if each.breached}, systems.playbook.severity))

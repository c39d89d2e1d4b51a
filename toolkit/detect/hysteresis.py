"""What raises a signal and what clears it: some polls in a row, never one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.detect.seen import Reading, Signal


@dataclass(frozen=True)
class Change:
    """A signal that was raised or cleared at this poll."""

    signal: Signal
    raised: bool
    reading: Reading


class Hysteresis:
    """Raises a signal after `polls_to_raise` breached polls in a row, clears it after `polls_to_clear` good ones."""

    def __init__(self, polls_to_raise: int, polls_to_clear: int) -> None:
        self._to_raise, self._to_clear = polls_to_raise, polls_to_clear
        self._streaks: dict[Signal, int] = {}
        self.raised: dict[Signal, Reading] = {}

    def update(self, readings: Mapping[Signal, Reading]) -> list[Change]:
        """Take one poll's readings; what was raised or cleared by it. `raised` then holds the latest bad readings."""
        changes = []
        for signal, reading in readings.items():
            if reading.breached is None:
                continue
            towards = reading.breached is not (signal in self.raised)
            self._streaks[signal] = self._streaks.get(signal, 0) + 1 if towards else 0
            if reading.breached and signal in self.raised:
                self.raised[signal] = reading
            if self._streaks[signal] >= (self._to_raise if reading.breached else self._to_clear):
                self._streaks[signal] = 0
                changes.append(Change(signal, reading.breached, reading))
                if reading.breached:
                    self.raised[signal] = reading
                else:
                    del self.raised[signal]
        return changes

"""How a monitor looks at a terminal: a table that changes in place, else a line for each change; as JSON too."""

import json as codec
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from toolkit.cli.options import print_json
from toolkit.clock import iso, utc_now

if TYPE_CHECKING:
    from toolkit.adapters.systems import Systems
    from toolkit.detect.hysteresis import Change
    from toolkit.detect.look import Look
    from toolkit.detect.monitor import Monitor
    from toolkit.detect.seen import Reading, Signal
    from toolkit.journal import Entry

SAY_SO_EVERY_S = 60.0


def show_look(seen: "Look", systems: "Systems", *, json: bool) -> None:
    """One look: every signal, and what it would amount to."""
    if json:
        signals = {str(signal): vars(reading) for signal, reading in seen.readings.items()}
        severity = seen.found.severity if seen.found else None
        reasons = seen.found.reasons if seen.found else ()
        print_json({"target": systems.target.name, "severity": severity, "reasons": reasons, "signals": signals})
        return
    Console().print(_table(seen.readings, seen.breached))
    amounts = f"{seen.found.severity}, if it lasts: {'; '.join(seen.found.reasons)}" if seen.found else ""
    unseen = f"{len(seen.unknown)} signals could not be seen" if seen.unknown else "Every signal is well"
    typer.echo(amounts or unseen)


@contextmanager
def telling(monitor: "Monitor", *, json: bool) -> "Iterator[Callable[[Sequence[Change]], None]]":
    """What to call after each poll. At a terminal a table; piped, a line for each change and one a minute."""
    if json:
        yield lambda changes: _tell_json(monitor, changes)
    elif Console().is_terminal:
        with Live(_screen(monitor), auto_refresh=False) as live:
            yield lambda _changes: live.update(_screen(monitor), refresh=True)
    else:
        typer.echo(f"{_headline(monitor)}")
        yield _Lines(monitor).tell


class _Lines:
    """A line for each change, and one a minute so that somebody who looks knows that it lives."""

    def __init__(self, monitor: "Monitor") -> None:
        self._monitor = monitor
        self._said_s, self._called = time.monotonic(), ""

    def tell(self, changes: "Sequence[Change]") -> None:
        for change in changes:
            _line(f"{change.signal} {'raised' if change.raised else 'cleared'}: {change.reading.evidence}")
        call = "; ".join(_to_call(self._monitor))
        if call and call != self._called:
            _line(f"to be called now: {call}")
        self._called = call
        if changes or time.monotonic() - self._said_s >= SAY_SO_EVERY_S:
            self._said_s = time.monotonic()
            _line(_headline(self._monitor))


def _line(text: str) -> None:
    typer.echo(f"{utc_now():%H:%M:%S} {text}")


def _tell_json(monitor: "Monitor", changes: "Sequence[Change]") -> None:
    if not changes:
        return
    told: dict[str, Any] = {"at": iso(utc_now()), **_standing(monitor), "call": _to_call(monitor)}
    told["changes"] = [
        {"signal": each.signal, "raised": each.raised, "evidence": each.reading.evidence} for each in changes
    ]
    typer.echo(codec.dumps(told, default=str))


def _standing(monitor: "Monitor") -> dict[str, object]:
    from toolkit.incident import severity_in, state_in

    entries, incident = _entries(monitor), monitor.log.incident
    return {
        "target": monitor.systems.target.name,
        "incident": str(incident.folder) if incident and state_in(entries) else None,
        "state": state_in(entries),
        "severity": severity_in(entries),
        "raised": sorted(monitor.hysteresis.raised),
    }


def _entries(monitor: "Monitor") -> "list[Entry]":
    """What is shown must not end what watches: a journal that cannot be read is shown as none."""
    from toolkit.errors import JournalError

    try:
        return monitor.log.entries()
    except JournalError:
        return []


def _headline(monitor: "Monitor") -> str:
    how = _standing(monitor)
    if how["incident"] is None:
        return f"Watching {how['target']}: no incident is open, {_count(monitor)}"
    return f"{how['severity']}, {how['state']}: {how['incident']}, {_count(monitor)}"


def _count(monitor: "Monitor") -> str:
    from toolkit.analysis import words

    raised = len(monitor.hysteresis.raised)
    return f"{words.plural(raised, 'signal')} raised" if raised else "nothing raised"


def _to_call(monitor: "Monitor") -> list[str]:
    from toolkit.on_call import numbers, to_call

    book = monitor.systems.playbook
    levels = to_call(book, _entries(monitor), utc_now())
    return [f"{role}: {number}" for each in levels for role, number in numbers(book, each.roles).items()]


def _screen(monitor: "Monitor") -> Group:
    call = _to_call(monitor)
    lines = [f"{utc_now():%H:%M:%S} UTC  {_headline(monitor)}"]
    if call:
        lines += ["To be called now (nobody has acknowledged; toolkit acknowledge):", *(f"  {each}" for each in call)]
    return Group(_table(monitor.readings, monitor.hysteresis.raised), *lines)


def _table(readings: "Mapping[Signal, Reading]", raised: "Mapping[Signal, Reading]") -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("signal", "", "what is seen"):
        table.add_column(name, overflow="fold")
    for signal, reading in readings.items():
        word = "breached" if signal in raised or reading.breached else "?" if reading.breached is None else "well"
        style = "bold red" if word == "breached" else "dim" if word == "?" else ""
        table.add_row(str(signal), word, raised[signal].evidence if signal in raised else reading.evidence, style=style)
    return table

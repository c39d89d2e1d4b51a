"""Reads an incident's folder into typed frames. Owns what each source holds, how much of it was bad, and its positions.

Every source is optional, none is trusted to be whole: a bad line is counted and told, and never stops the rest. Nothing
here is interpreted. Personal data stays outside: of the service's log only named fields are kept.

    requests   position, at, end, kind, method, path, status, ms, error, deployment, attempt, event_type, failed
    log        position, at, level, method, path, status, ms, deployment, event_type, error_type, sqlstate, constraint,
               relation, column, message, failed
    events     as `affected.read_events` reads them

`at` is a UTC timestamp (for requests: when sent), `ms` milliseconds, `status` a nullable integer (null: no answer).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.analysis.affected import read_events
from toolkit.analysis.discretion import discreet
from toolkit.analysis.references import Source
from toolkit.clock import parse_utc
from toolkit.incident import FACILITATOR_FILE, JOURNAL_FILE
from toolkit.journal import FIELDS, Entry, inspect

FILES = {
    Source.JOURNAL: JOURNAL_FILE,
    Source.FACILITATOR: FACILITATOR_FILE,
    Source.REQUESTS: "requests.parquet",
    Source.LOG: "service.log",
    Source.EVENTS: "ledger.sqlite",
}
REQUEST_COLUMNS = ("at", "kind", "method", "path", "status", "ms", "error", "deployment", "attempt", "event_type")
LOG_FIELDS = ("level", "method", "path", "status", "ms", "deployment", "event_type")
ERROR_FIELDS = {
    "type": "error_type",
    "sqlstate": "sqlstate",
    "constraint": "constraint",
    "relation": "relation",
    "column": "column",
    "message": "message",
}
TOO_MANY_REQUESTS = 429
BAD_LINES_NAMED = 5


@dataclass(frozen=True)
class SourceState:
    """What came of reading one source. `problems` are sentences; `first` and `last` are the times it covers, UTC."""

    source: Source
    file: str
    present: bool
    items: int = 0
    bad: int = 0
    first: datetime | None = None
    last: datetime | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """All that a folder holds. A source that is absent is () or None, and its state says so."""

    folder: Path
    journal: tuple[Entry, ...]
    facilitator: tuple[Entry, ...]
    requests: pd.DataFrame | None
    log: pd.DataFrame | None
    events: pd.DataFrame | None
    states: tuple[SourceState, ...]

    def state(self, source: Source) -> SourceState:
        return next(state for state in self.states if state.source is source)

    @property
    def is_drill(self) -> bool:
        return bool(self.facilitator)


def read_evidence(folder: Path) -> Evidence:
    """Read whatever the folder holds. Raises nothing for what is missing or damaged."""
    journal, journal_state = _read_journal(folder, Source.JOURNAL)
    facilitator, facilitator_state = _read_journal(folder, Source.FACILITATOR)
    requests, requests_state = _read_frame(folder, Source.REQUESTS, _requests)
    log, log_state = _read_frame(folder, Source.LOG, _log)
    events, events_state = _read_frame(folder, Source.EVENTS, lambda path: (read_events(path), 0, ()))
    states = (journal_state, facilitator_state, requests_state, log_state, events_state)
    return Evidence(folder, journal, facilitator, requests, log, events, states)


def _read_journal(folder: Path, source: Source) -> tuple[tuple[Entry, ...], SourceState]:
    """Every line that is an entry, in order, and what the journal's own inspection says of the chain."""
    path = folder / FILES[source]
    if not path.exists():
        return (), SourceState(source, path.name, present=False)
    entries: list[Entry] = []
    bad = 0
    for line in path.read_bytes().splitlines():
        try:
            fields = json.loads(line)
            entry = Entry(**{name: fields[name] for name in FIELDS} | {"at": parse_utc(fields["at"])})
        except (ValueError, KeyError, TypeError):
            bad += 1
            continue
        if isinstance(entry.seq, int) and isinstance(entry.data, dict):
            entries.append(entry)
        else:
            bad += 1
    times = [entry.at for entry in entries]
    first, last = min(times, default=None), max(times, default=None)
    problems = tuple(inspect(path).problems)
    return tuple(entries), SourceState(source, path.name, True, len(entries), bad, first, last, problems)


Read = tuple[pd.DataFrame, int, tuple[str, ...]]


def _read_frame(folder: Path, source: Source, read: Callable[[Path], Read]) -> tuple[pd.DataFrame | None, SourceState]:
    path = folder / FILES[source]
    absent = SourceState(source, path.name, present=False)
    if not path.exists():
        return None, absent
    try:
        frame, bad, problems = read(path)
    except Exception as error:  # a damaged file is told, whatever the reader made of it
        return None, replace(absent, problems=(f"unreadable: {type(error).__name__}",))
    if frame.empty:
        return None, replace(absent, present=True, bad=bad, problems=problems or ("it is empty",))
    first, last = frame["at"].min().to_pydatetime(), frame["at"].max().to_pydatetime()
    return frame, SourceState(source, path.name, True, len(frame), bad, first, last, problems)


def _requests(path: Path) -> Read:
    """The recorded requests, oldest first; `position` is the row in the file, from 1."""
    frame = pd.read_parquet(path)
    if missing := [column for column in REQUEST_COLUMNS if column not in frame]:
        raise KeyError(", ".join(missing))
    frame = frame[list(REQUEST_COLUMNS)].copy()
    frame.insert(0, "position", range(1, len(frame) + 1))
    frame["at"] = pd.to_datetime(frame["at"], utc=True).astype("datetime64[us, UTC]")
    whole = frame["at"].notna() & frame["ms"].notna()
    problems = () if whole.all() else (f"{(~whole).sum()} rows have no time or no duration",)
    return finish_requests(frame[whole]), int((~whole).sum()), problems


def finish_requests(frame: pd.DataFrame) -> pd.DataFrame:
    """Order by time sent, and add `end` and `failed`: no whole answer, a status of 500 or more, or 429."""
    frame = frame.sort_values("at", kind="stable").reset_index(drop=True)
    frame["status"] = frame["status"].astype("Int16")
    frame["end"] = frame["at"] + pd.to_timedelta(frame["ms"], unit="ms").astype("timedelta64[us]")
    frame["failed"] = frame["error"].notna() | _refused(frame["status"])
    return frame


def _refused(status: "pd.Series[int]") -> "pd.Series[bool]":
    known = status.fillna(0)
    return ((known < 100) | (known >= 500) | (known == TOO_MANY_REQUESTS)).astype(bool)


def _log(path: Path) -> Read:
    """JSON lines of requests that were answered. Other JSON lines are left out; what is no JSON object is bad."""
    rows: list[dict[str, Any]] = []
    bad: list[int] = []
    for position, line in _lines(path):
        try:
            row = _log_row(position, json.loads(line))
        except (ValueError, TypeError, AttributeError, KeyError):
            bad.append(position)
            continue
        if row is not None:
            rows.append(row)
    columns = ["position", "at", *LOG_FIELDS, *ERROR_FIELDS.values()]
    frame = pd.DataFrame(rows, columns=columns)
    frame["at"] = pd.to_datetime(frame["at"], utc=True).astype("datetime64[us, UTC]")
    frame["status"] = pd.to_numeric(frame["status"], errors="coerce").astype("Int16")
    frame["ms"] = pd.to_numeric(frame["ms"], errors="coerce").astype(float)
    frame["failed"] = _refused(frame["status"])
    return frame, len(bad), _bad_lines(bad)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for position, line in enumerate(file, start=1):
            if line.strip():
                yield position, line


def _log_row(position: int, said: dict[str, Any]) -> dict[str, Any] | None:
    """The named fields of one line; None when it tells of no answered request. Raises when it is malformed."""
    at = parse_utc(said["at"])
    if said.get("path") is None or not isinstance(said.get("status"), int):
        return None
    error = said.get("error") or {}
    row = {name: said.get(name) for name in LOG_FIELDS} | {ours: error.get(key) for key, ours in ERROR_FIELDS.items()}
    message = row["message"]
    return row | {"position": position, "at": at, "message": discreet(message) if isinstance(message, str) else None}


def _bad_lines(bad: Sequence[int]) -> tuple[str, ...]:
    if not bad:
        return ()
    named = ", ".join(str(line) for line in bad[:BAD_LINES_NAMED])
    more = f" and {len(bad) - BAD_LINES_NAMED} more" if len(bad) > BAD_LINES_NAMED else ""
    return (f"{len(bad)} of its lines could not be read: {'line' if len(bad) == 1 else 'lines'} {named}{more}",)

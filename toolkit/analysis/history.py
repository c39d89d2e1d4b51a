"""What was practised and what happened: every drill and every real incident in some folders, a row each.

A drill is a folder with a score; one that was interrupted is none. A real incident is a folder with a journal that was
opened and no facilitator's journal beside it. What cannot be read is named, and never fatal.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ToolkitError
from toolkit.incident import FACILITATOR_FILE, JOURNAL_FILE, Incident, State
from toolkit.journal import Entry, Journal

if TYPE_CHECKING:
    import pandas as pd

SCORE_FILE = "score.json"
INTERRUPTED = "interrupted"
DRILL, INCIDENT = "drill", "incident"


@dataclass(frozen=True)
class History:
    """`events`: a row a drill or an incident, oldest first: kind, scenario, seed, at (UTC), version, passed, detect_s,
    resolve_s, rollbacks, rollbacks_done, migrations, migrations_done, folder. `steps`: a row a part of a drill:
    scenario, seed, at, version, step, seconds. `unread`: folders that could not be read, and why.
    """

    events: "pd.DataFrame"
    steps: "pd.DataFrame"
    unread: tuple[str, ...]

    def of(self, kind: str) -> "pd.DataFrame":
        """The drills, or the real incidents."""
        return self.events[self.events["kind"] == kind]


_EVENTS: Mapping[str, str] = {
    "kind": "string",
    "scenario": "string",
    "seed": "Int64",
    "at": "datetime64[us, UTC]",
    "version": "string",
    "passed": "boolean",
    "detect_s": "Float64",
    "resolve_s": "Float64",
    "rollbacks": "Int64",
    "rollbacks_done": "Int64",
    "migrations": "Int64",
    "migrations_done": "Int64",
    "folder": "string",
}
_STEPS: Mapping[str, str] = {
    "scenario": "string",
    "seed": "Int64",
    "at": "datetime64[us, UTC]",
    "version": "string",
    "step": "string",
    "seconds": "Float64",
}


def folders_of(text: str, base: Path) -> list[Path]:
    """The folders of a list with commas; what is not absolute lies below `base`."""
    return [base / name.strip() for name in text.split(",") if name.strip()]


def read_history(folders: Iterable[Path]) -> History:
    """Read them with all that lies below. A folder that is not there is named as unread."""
    events: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    unread: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            unread.append(f"{folder}: there is no such folder")
        for found in sorted({path.parent for name in (SCORE_FILE, JOURNAL_FILE) for path in folder.rglob(name)}):
            try:
                _read(found, events, steps)
            except (OSError, ValueError, KeyError, TypeError, ToolkitError) as error:
                unread.append(f"{found}: {error}")
    return History(
        _frame(events, _EVENTS).sort_values("at", ignore_index=True),
        _frame(steps, _STEPS).sort_values("at", ignore_index=True, kind="stable"),
        tuple(unread),
    )


def _frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(types)).astype(dict(types))


def _read(folder: Path, events: list[dict[str, Any]], steps: list[dict[str, Any]]) -> None:
    score = folder / SCORE_FILE
    if score.exists():
        _read_drill(folder, json.loads(score.read_text(encoding="utf-8")), events, steps)
    elif not (folder / FACILITATOR_FILE).exists():
        events.extend(_incident(folder))


def _read_drill(
    folder: Path, score: Mapping[str, Any], events: list[dict[str, Any]], steps: list[dict[str, Any]]
) -> None:
    if score["outcome"] == INTERRUPTED:
        return
    facilitator = Journal(folder / FACILITATOR_FILE, folder.name).entries()
    if not facilitator:
        raise ValueError("a drill without its facilitator's journal: when it was played is not known")
    named = {"scenario": score["scenario"], "seed": score["seed"], "at": facilitator[0].at}
    named["version"] = "+".join(filter(None, (score.get("version", ""), score.get("revision", ""))))
    told = {"detect_s": score.get("time_to_detect_s"), "resolve_s": score.get("time_to_resolve_s")}
    passed = next(
        (each.data.get("exit_code") == 0 for each in reversed(facilitator) if each.kind == "drill.ended"), None
    )
    counts = _counted(Incident(folder).journal.entries())
    events.append({"kind": DRILL, "passed": passed, "folder": str(folder)} | named | told | counts)
    steps.extend(named | {"step": step, "seconds": seconds} for step, seconds in (score.get("phases") or {}).items())


def _incident(folder: Path) -> Iterator[dict[str, Any]]:
    """A real one, from its opening on: how long it lasted before is in no journal."""
    incident = Incident(folder)
    opened, resolved = incident.moment(State.OPEN), incident.moment(State.RESOLVED)
    if opened is None:
        return  # a monitor that watched, and found nothing
    told = {"resolve_s": _seconds(opened, resolved), "passed": resolved is not None}
    yield {"kind": INCIDENT, "at": opened, "folder": str(folder)} | told | _counted(incident.journal.entries())


def _seconds(begin: datetime, end: datetime | None) -> float | None:
    return (end - begin).total_seconds() if end else None


def _counted(entries: Sequence[Entry]) -> dict[str, int]:
    """How many rollbacks were carried out and came to their end, and how many migrations ran and went through."""
    made = [each for each in entries if each.kind == "plan.made" and each.data.get("execute")]
    plans = {str(each.data["plan"]) for each in made}
    done = {str(each.data["plan"]) for each in entries if each.kind == "plan.done"}
    begun, ended = (
        {(str(e.data["plan"]), str(e.data["step"])) for e in entries if e.kind == kind and _is_migration(e)}
        for kind in ("step.begun", "step.done")
    )
    return {
        "rollbacks": len(plans),
        "rollbacks_done": len(plans & done),
        "migrations": len(begun),
        "migrations_done": len(begun & ended),
    }


def _is_migration(entry: Entry) -> bool:
    return str(entry.data.get("step", "")).startswith(("run-down-", "mend-", "migrate-up-"))

"""A campaign's results as Parquet: `drills.parquet` has a row for each drill, `steps.parquet` one for each step.

Made anew from the folders of the tries that count, so that nothing is in it twice. Columns are those of the score with
a dot between levels (`decision.verdict`, `checks.pass`); times are UTC, durations in seconds.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.drill.campaign.plan import Campaign, Planned, read_score
from toolkit.drill.campaign.player import RUN_FILE
from toolkit.drill.score import Score
from toolkit.errors import ToolkitError
from toolkit.incident import Incident

DRILLS_FILE, STEPS_FILE = "drills.parquet", "steps.parquet"
_LEFT_OUT = ("journal_head", "facilitator_head", "phases")


def write_dataset(campaign: Campaign) -> tuple[Path, Path]:
    """Write both files, each whole or not at all. ToolkitError where they cannot be written."""
    rows = [(each, counted) for each in campaign.drills() if (counted := each.counted()) is not None]
    drills = [drill_row(each, counted) for each, counted in rows]
    steps = [row for each, counted in rows for row in step_rows(each, counted)]
    return (
        _write(campaign.folder / DRILLS_FILE, drills, ("began", "ended")),
        _write(campaign.folder / STEPS_FILE, steps, ()),
    )


def drill_row(drill: Planned, counted: Path) -> dict[str, Any]:
    """One drill as a flat row: its score, when and where it ran, and whether it passed."""
    score = read_score(counted) or {}
    told = _read(counted / RUN_FILE)
    row = dict(_flat({name: value for name, value in score.items() if name not in _LEFT_OUT}))
    row |= {"passed": Score.model_validate(score).passed, "tries": len(drill.tries())}
    return row | {name: told.get(name) for name in ("began", "ended", "machine", "exit_code")}


def step_rows(drill: Planned, counted: Path) -> Iterator[dict[str, Any]]:
    """The drill's phases, and the steps of what was carried out: {scenario, seed, part, step, seconds}."""
    named = {"scenario": drill.scenario, "seed": drill.seed}
    score = read_score(counted) or {}
    for phase, seconds in (score.get("phases") or {}).items():
        yield named | {"part": "phase", "step": phase, "seconds": float(seconds)}
    try:
        entries = Incident(counted / "drill").journal.entries()
    except ToolkitError:  # its journal does not verify: its phases are told, its steps are not
        return
    for entry in entries:
        if entry.kind == "step.done" and isinstance(entry.data.get("seconds"), int | float):
            step = {"part": "step", "step": str(entry.data["step"]), "seconds": float(entry.data["seconds"])}
            yield named | step


def _flat(found: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", ", ".join(map(str, value)) if isinstance(value, list) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, rows: list[dict[str, Any]], moments: tuple[str, ...]) -> Path:
    import pandas as pd

    frame = pd.DataFrame(rows)
    for name in moments:
        if name in frame:
            frame[name] = pd.to_datetime(frame[name], utc=True)
    partial = path.with_name(f".{path.name}.new")
    try:
        frame.convert_dtypes(dtype_backend="pyarrow").to_parquet(partial, index=False)
        partial.replace(path)
    except OSError as error:
        raise ToolkitError(
            f"{path} cannot be written: {error.strerror}",
            state="the drills' folders are whole",
            next="make room, then toolkit campaign show",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path

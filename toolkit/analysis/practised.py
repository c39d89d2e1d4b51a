"""What was practised, read from folders: drills with a score, and recovery tests. What cannot be read is named."""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.analysis.due import RECOVERY, Practice
from toolkit.analysis.history import DRILL, read_history

if TYPE_CHECKING:
    import pandas as pd

RECOVERY_FILE = "recovery.json"


def read_practised(folders: Iterable[Path]) -> tuple[list[Practice], list[str]]:
    """Every drill and recovery test below these folders, and what could not be read. A folder that is not there holds
    nothing."""
    places = [folder for folder in folders if folder.is_dir()]
    history = read_history(places)
    found, unread = _drills(history.of(DRILL)), list(history.unread)
    for path in sorted(path for place in places for path in place.rglob(RECOVERY_FILE)):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            at = datetime.fromisoformat(told["tested_at"])
            found.append(Practice(RECOVERY, at, told["outcome"] == "pass", str(path.parent)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            unread.append(f"{path}: {error}")
    return found, unread


def _drills(drills: "pd.DataFrame") -> list[Practice]:
    rows = zip(drills["scenario"], drills["at"], drills["passed"].fillna(False), drills["folder"], strict=True)
    return [Practice(str(what), at.to_pydatetime(), bool(passed), str(folder)) for what, at, passed, folder in rows]

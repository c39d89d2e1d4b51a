"""The lever: while somebody holds it no fault is put in, by nobody on this machine. It stays held until it is released.

A file in the runtime folder, so that every process sees it at once and the end of any one changes nothing. It stops
nothing by itself: whoever pulls it does.
"""

from datetime import datetime
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.clock import utc_now
from toolkit.drill.state import write_private
from toolkit.errors import UsageError
from toolkit.places import runtime_home

_FILE = "faults-held.json"


class Held(BaseModel):
    """Who holds it, since when (UTC) and why."""

    model_config = ConfigDict(frozen=True)

    by: str
    why: str
    at: datetime


def hold(by: str, why: str) -> Held:
    """Pull it. Who pulled it first is kept."""
    with _lock():
        if found := held():
            return found
        mine = Held(by=by, why=why, at=utc_now())
        write_private(_path(), mine.model_dump_json())
        return mine


def release() -> Held | None:
    """Let it go; returns who had held it, None where nobody did."""
    with _lock():
        found = held()
        _path().unlink(missing_ok=True)
        return found


def held() -> Held | None:
    """Who holds it now. A file that cannot be read holds, too: in doubt nothing is broken."""
    try:
        text = _path().read_text()
    except FileNotFoundError:
        return None
    try:
        return Held.model_validate_json(text)
    except ValidationError:
        return Held(by="somebody", why="the lever's file cannot be read", at=utc_now())


def expect_released() -> None:
    """For whoever is about to put a fault in. UsageError while it is held."""
    if found := held():
        raise UsageError(
            f"No fault is put in: the lever is held since {found.at:%H:%M:%S} UTC by {found.by} ({found.why})",
            state="nothing was done",
            next="when all agree that it is safe: toolkit gameday release",
        )


def _path() -> Path:
    return runtime_home() / _FILE


def _lock() -> FileLock:
    return FileLock(runtime_home() / "faults-held.lock")

"""What all tests share: they run from the project's folder, on nobody's target, with their servers' data in memory."""

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[1]
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 1024**3


def pytest_configure() -> None:
    """Temporary folders go into memory where there is room: dozens of servers wait for a disk otherwise.

    TMPDIR has the last word. A small or strict one (a container's, by default) is left alone.
    """
    if "TMPDIR" not in os.environ and _has_room(MEMORY):
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


def _has_room(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >= ROOM_BYTES and not found.f_flag & os.ST_NOEXEC


class OneDrillAtATime(LoadFileScheduling):
    """Whole drills stay on one worker: each takes most of a core, and two of them starve what they measure."""

    def _split_scope(self, nodeid: str) -> str:
        return "drills" if nodeid.startswith(("tests/drills/", "tests/notebooks/")) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneDrillAtATime | None:
    return OneDrillAtATime(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """What a shell starts in the background ignores SIGINT, and so would every program that a test starts."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_target_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test must not act on what somebody's shell happens to name."""
    monkeypatch.chdir(ROOT)
    for name in list(os.environ):
        if name.startswith("TOOLKIT_") or name in ("DATABASE_URL", "SERVICE_URL", "PG_BINDIR"):
            monkeypatch.delenv(name)


@pytest.fixture
def toolkit_command() -> list[str]:
    """The command line as a user has it."""
    import sys

    return [str(Path(sys.executable).parent / "toolkit")]

"""What all tests share: they run from the project's folder, on nobody's target."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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

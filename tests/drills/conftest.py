"""One complete drill, run once as a user would, for all tests that look at what it leaves behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class FinishedDrill:
    folder: Path
    exit_code: int
    printed: dict[str, Any]
    said: str

    @property
    def score(self) -> dict[str, Any]:
        return json.loads((self.folder / "score.json").read_text())


def _run(folder: Path, seed: int) -> FinishedDrill:
    return _run_scenario("breaking-migration", folder, seed)


def _run_scenario(name: str, folder: Path, seed: int) -> FinishedDrill:
    argv = [str(Path(sys.executable).parent / "toolkit"), "drill", "run", name]
    argv += ["--seed", str(seed), "--out", str(folder), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=280, check=False)
    printed = json.loads(done.stdout) if done.stdout.strip() else {}
    return FinishedDrill(folder, done.returncode, printed, done.stderr)


@pytest.fixture(scope="session")
def run_drill() -> Callable[[Path, int], FinishedDrill]:
    """Runs a drill into a folder with a seed, as a user would."""
    return _run


@pytest.fixture(scope="session")
def run_scenario() -> Callable[[str, Path, int], FinishedDrill]:
    """The same for any scenario."""
    return _run_scenario


@pytest.fixture(scope="session")
def drill(tmp_path_factory: pytest.TempPathFactory) -> FinishedDrill:
    return _run(tmp_path_factory.mktemp("drill") / "with a space" / "first", seed=1)

"""One complete drill, run once as a user would, for all tests that look at what it leaves behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import pytest

from toolkit.drill.sandbox import Sandbox

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class FinishedDrill:
    folder: Path
    exit_code: int
    printed: dict[str, Any]
    said: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def score(self) -> dict[str, Any]:
        return json.loads((self.folder / "score.json").read_text())


def _run(folder: Path, seed: int) -> FinishedDrill:
    return _run_scenario("breaking-migration", folder, seed)


def _run_kept(folder: Path, seed: int) -> FinishedDrill:
    """With every secret that its sandbox had: those of the tokens, the webhooks and each database role."""
    done = _run_scenario("breaking-migration", folder, seed, "--keep")
    if not done.printed.get("sandbox"):
        return done
    sandbox = Sandbox.find(done.printed["sandbox"])
    state = sandbox.state
    urls = [state.database_url, state.owner_url, state.admin_url]
    for process in psutil.Process(state.keeper_pid).children(recursive=True):
        with suppress(psutil.Error):  # a deployment's role is known to its own process alone
            urls += [value for name, value in process.environ().items() if name == "DATABASE_URL"]
    passwords = {unquote(urlsplit(url).password or "") for url in urls}
    sandbox.stop()
    return replace(done, secrets=(state.vercel_token, state.webhook_secret, state.cron_secret, *passwords))


def _run_scenario(name: str, folder: Path, seed: int, *more: str) -> FinishedDrill:
    argv = [str(Path(sys.executable).parent / "toolkit"), "drill", "run", name]
    argv += ["--seed", str(seed), "--out", str(folder), "--json", *more]
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
    return _run_kept(tmp_path_factory.mktemp("drill") / "with a space" / "first", seed=1)

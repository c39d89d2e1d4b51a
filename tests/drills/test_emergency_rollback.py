"""`emergency-rollback` as somebody types it, on one sandbox: what it shows, what it refuses, what it does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from toolkit.drill.faults import inject
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.scenario import load_scenario
from toolkit.drill.state import SandboxOptions
from toolkit.drill.steady import record_steady_state
from toolkit.incident import Incident

COMMAND = Path(sys.executable).parent / "emergency-rollback"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@contextmanager
def broken(name: str, evidence: Path) -> Iterator[Sandbox]:
    """A sandbox, broken by the default scenario."""
    options = SandboxOptions(evidence=evidence, events=500, cases=100, monitor=False)
    with Sandbox.start(f"cli-{os.getpid()}-{name}", options, attached=True) as running:
        record_steady_state(running.state, 2)
        inject(load_scenario("breaking-migration"), running.state)
        yield running


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One on which nothing is rolled back."""
    with broken("shared", tmp_path_factory.mktemp("cli")) as running:
        yield running


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path) -> Run:
    """`emergency-rollback` on the shared sandbox."""
    return command_on(sandbox, tmp_path)


def command_on(sandbox: Sandbox, folder: Path) -> Run:
    """Runs it elsewhere than in the project, with the sandbox's variables."""
    environment = dict(os.environ) | sandbox.state.environment()
    environment["TOOLKIT_PLAYBOOK"] = str(Path("playbook.toml").resolve())

    def call(*words: str) -> "subprocess.CompletedProcess[str]":
        argv = [str(COMMAND), *words, "--target", "sandbox"]
        return subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)

    return call


def version(sandbox: Sandbox) -> list[tuple[int, bool]]:
    with psycopg.connect(sandbox.state.admin_url) as conn:
        return conn.execute("SELECT version, dirty FROM schema_migrations").fetchall()


def test_without_an_action_or_with_two_it_is_wrong_use(run: Run) -> None:
    for words in ((), ("--status-only", "--last-stable"), ("--app-rollback", "--full-emergency")):
        done = run(*words)
        assert done.returncode == 2 and "nothing was done" in done.stderr


def test_the_status_tells_what_is_wrong_and_changes_nothing(run: Run, sandbox: Sandbox) -> None:
    done = run("--status-only", "--json")
    assert done.returncode == 3
    outcomes = {each["name"]: each["outcome"] for each in json.loads(done.stdout)["checks"]}
    assert outcomes["migrations"] == "fail" and outcomes["no rollback is unfinished"] == "pass"
    assert version(sandbox) == [(9, False)]


@pytest.mark.parametrize(
    "words",
    [
        ("--last-stable",),
        ("--migration-target=8",),
        ("--app-rollback",),
        ("--backup-restore=newest",),
        ("--full-emergency",),
        ("--backup-only",),
    ],
    ids=lambda words: words[0],
)
def test_without_execute_it_shows_the_plan_and_the_command(run: Run, sandbox: Sandbox, words: tuple[str]) -> None:
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "Nothing was done" in done.stdout
    command = done.stdout.strip().splitlines()[-1]
    assert command.strip().startswith("emergency-rollback ") and command.endswith("--target sandbox --execute")
    assert version(sandbox) == [(9, False)]


def test_nothing_to_go_on_with_is_one_paragraph(run: Run) -> None:
    for option in ("--resume", "--abort"):
        done = run(option, "--execute")
        assert done.returncode == 1 and "No rollback was begun here" in done.stderr
        assert "Traceback" not in done.stderr


def test_it_backs_up_and_rolls_nothing_back(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    done = run("--backup-only", "--execute", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] == "The backup is readable and complete."
    assert (tmp_path / told["folder"] / "manifest.json").exists() and version(sandbox) == [(9, False)]


def test_a_plan_that_is_refused_leaves_no_incident(run: Run, tmp_path: Path) -> None:
    done = run("--backup-restore=nowhere.sql", "--execute")
    assert done.returncode == 2 and "There is no backup at nowhere.sql" in done.stderr
    done = run("--migration-target=9", "--execute")
    assert done.returncode == 1 and "nothing to roll back" in done.stderr
    assert not (tmp_path / "reports").exists()


def test_it_rolls_back_and_leaves_an_incident(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    with broken("own", evidence) as sandbox:
        run = command_on(sandbox, tmp_path)
        shown = run("--last-stable", "--json")
        assert json.loads(shown.stdout)["waits_for"] == ["pre.impact", "pre.stakeholders"]
        done = run("--last-stable", "--execute", "--override", "the whole team is here", "--json")
        assert done.returncode == 0, done.stderr
        assert version(sandbox) == [(8, False)]
    told = json.loads(done.stdout)
    assert told["rehearsal"]["outcome"] == "pass" and all(each["outcome"] == "pass" for each in told["recovery"])
    incident = Incident.at(told["incident"])
    kinds = [entry.kind for entry in incident.journal.entries()]
    assert kinds.index("backup.made") < kinds.index("rehearsal.made") < kinds.index("step.begun")
    overridden = [entry.data for entry in incident.journal.entries() if entry.kind == "checklist.overridden"]
    assert {(each["item"], each["reason"]) for each in overridden} == {
        ("pre.impact", "the whole team is here"),
        ("pre.stakeholders", "the whole team is here"),
    }
    assert sandbox.state.vercel_token not in (incident.folder / "journal.jsonl").read_text()

"""The promise of `make drill`: found, rolled back, proved, nothing lost; what it leaves behind is whole and clean."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import nbformat
import pandas as pd
import psutil
import psycopg
import pytest

from toolkit.clock import wait_until
from toolkit.incident import Incident, State
from toolkit.journal import Head, Journal, inspect
from toolkit.lifeline import Lifeline
from toolkit.places import make_passable, runtime_home
from toolkit.server import PostgresServer

LEFT_BEHIND = (
    "journal.jsonl",
    "facilitator.jsonl",
    "ledger.sqlite",
    "requests.parquet",
    "service.log",
    "postmortem.md",
    "postmortem.html",
    "score.json",
    "backup",
    "figures",
    *(f"notebooks/{name}.ipynb" for name in ("01_assess", "02_stabilize", "03_rollback", "04_verify", "05_postmortem")),
)
SCORE = {
    *("scenario", "seed", "outcome", "verified", "severity", "requests", "failed_requests", "acknowledged"),
    *("time_to_detect_s", "time_to_acknowledge_s", "time_to_mitigate_s", "time_to_resolve_s", "downtime_s"),
    *("lost", "duplicated", "unexpected", "checks", "phases"),
}
EMAIL_OR_USER = re.compile(rb"\buser_\d+\b")
LIKE_A_SECRET = (re.compile(rb"postgres(?:ql)?://[^\s\"'*]+:[^\s\"'*@]+@"), re.compile(rb"(?i)bearer [A-Za-z0-9]{8,}"))


def check_passed(drill) -> None:
    assert drill.exit_code == 0, drill.said
    score = drill.score
    assert (score["outcome"], score["verified"]) == ("resolved", True)
    assert (score["lost"], score["duplicated"], score["unexpected"]) == (0, 0, 0)
    assert score["acknowledged"] > 300 and score["failed_requests"] > 20
    assert score["checks"]["pass"] > 15 and (score["checks"]["fail"], score["checks"]["unknown"]) == (0, 0)


def test_it_is_found_rolled_back_and_proved(drill) -> None:
    check_passed(drill)


def test_times_come_in_the_order_of_events(drill) -> None:
    times = [drill.score[f"time_to_{name}_s"] for name in ("detect", "acknowledge", "mitigate", "resolve")]
    assert times == sorted(times) and times[0] > 0


def test_everything_that_is_promised_is_left_behind(drill) -> None:
    missing = [name for name in LEFT_BEHIND if not (drill.folder / name).exists()]
    assert not missing
    assert set(drill.score) >= SCORE
    assert drill.printed["folder"] == str(drill.folder)


def test_the_journals_are_whole(drill) -> None:
    head = Head(**drill.score["journal_head"])
    assert inspect(drill.folder / "journal.jsonl", head).problems == ()
    assert inspect(drill.folder / "facilitator.jsonl").problems == ()


def test_intent_is_journaled_before_each_effect(drill) -> None:
    entries = Incident(drill.folder).journal.entries()
    begun, order = {}, []
    for entry in entries:
        if entry.kind == "step.begun":
            begun[entry.data["step"]] = entry.seq
        if entry.kind == "step.done":
            assert begun[entry.data["step"]] < entry.seq
            order.append(entry.data["step"])
    both = [step for step in order if step in ("point-production", "run-down-9")]
    assert both == ["point-production", "run-down-9"], "the application goes first, then the migration"
    kinds = [entry.kind for entry in entries]
    assert kinds.index("backup.made") < kinds.index("step.begun") < kinds.index("verification.made")


def test_the_monitor_found_it_and_was_not_told(drill) -> None:
    incident = Incident(drill.folder)
    opened = incident.latest("incident.opened")
    assert opened.actor == "monitor" and incident.state is State.RESOLVED
    fault = next(e for e in Journal(drill.folder / "facilitator.jsonl", "").entries() if e.kind == "fault.begun")
    assert opened.at > fault.at
    sealed = [entry.kind for entry in incident.journal.entries() if entry.kind.startswith(("fault.", "drill."))]
    assert not sealed, "the incident's journal must not know what broke"


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Each file below it, with what it holds; a compressed table unpacked."""
    for path in folder.rglob("*"):
        if path.is_file():
            unpacked = pd.read_parquet(path).to_csv().encode() if path.suffix == ".parquet" else b""
            yield path.relative_to(folder), path.read_bytes() + unpacked


def test_no_secret_of_its_sandbox_is_in_any_file(drill) -> None:
    assert len(set(drill.secrets)) >= 8 and all(len(secret) >= 24 for secret in drill.secrets)
    holding = [str(path) for path, content in contents(drill.folder) if holds_any(content, drill.secrets)]
    assert not holding
    said = (drill.said + json.dumps(drill.printed)).encode()
    assert not holds_any(said, drill.secrets)


def holds_any(content: bytes, secrets: Sequence[str]) -> bool:
    return any(secret.encode() in content or quote(secret, safe="").encode() in content for secret in secrets)


def test_no_url_with_a_password_and_nobody_is_in_any_file(drill) -> None:
    """The backup holds production data, that is its purpose; nothing else may hold a person."""
    for path, content in contents(drill.folder):
        patterns = [*LIKE_A_SECRET, *([] if path.parts[0] == "backup" else [EMAIL_OR_USER])]
        for pattern in patterns:
            found = pattern.search(content)
            assert not found, f"{path} holds {found.group()[:30]!r}"


def test_every_notebook_ran_to_its_end(drill) -> None:
    for path in sorted((drill.folder / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells), path.name
        assert not any(out.output_type == "error" for cell in cells for out in cell.outputs), path.name


def test_another_seed_is_another_drill_with_the_same_end(drill, run_drill, tmp_path: Path) -> None:
    other = run_drill(tmp_path / "other", seed=20)
    check_passed(other)
    assert (
        other.score["requests"] != drill.score["requests"] or other.score["acknowledged"] != drill.score["acknowledged"]
    )


@pytest.mark.parametrize("until", [pytest.param("steady_state.measured", marks=pytest.mark.soak), "fault.done"])
def test_a_drill_that_is_killed_leaves_nothing_running_and_keeps_its_evidence(
    toolkit_command, tmp_path: Path, until: str
) -> None:
    folder = tmp_path / "killed"
    argv = [*toolkit_command, "drill", "run", "breaking-migration", "--out", str(folder)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    facilitator = Journal(folder / "facilitator.jsonl", "killed")
    wait_until(lambda: any(e.kind == until for e in facilitator.entries()), within=60, what=until)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 6
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(each.is_running() for each in family), within=20, what="every process to end")
    assert inspect(folder / "facilitator.jsonl").problems == ()
    assert (folder / "ledger.sqlite").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_an_interrupted_drill_says_so_and_ends_in_order(
    toolkit_command, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "interrupted"
    argv = [*toolkit_command, "drill", "run", "breaking-migration", "--out", str(folder)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    facilitator = Journal(folder / "facilitator.jsonl", "interrupted")
    wait_until(lambda: any(e.kind == "fault.done" for e in facilitator.entries()), within=60, what="the fault")
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    said, _ = process.communicate(timeout=40)
    assert process.returncode == 130 and "Traceback" not in said
    assert "Interrupted" in said and str(folder) in said
    wait_until(lambda: not any(each.is_running() for each in family), within=20, what="every process to end")
    score = json.loads((folder / "score.json").read_text())
    assert (score["outcome"], score["lost"]) == ("interrupted", None)
    assert score["checks"] == {"pass": 0, "fail": 0, "unknown": 0}


@pytest.mark.soak  # a minute
def test_a_drill_whose_database_is_gone_claims_nothing_and_still_reports(toolkit_command, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    argv = [*toolkit_command, "drill", "run", "breaking-migration", "--out", str(folder), "--json"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    incident = Incident(folder)
    wait_until(lambda: incident.latest("backup.made"), within=90, what="the backup")
    postmasters = [
        each
        for each in psutil.Process(process.pid).children(recursive=True)
        if each.name() == "postgres" and "-D" in each.cmdline()
    ]
    data = Path(postmasters[0].cmdline()[postmasters[0].cmdline().index("-D") + 1])
    data.rename(data.with_name("gone"))  # nobody starts it again
    for each in postmasters:
        each.kill()
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in said
    score = json.loads(printed)
    assert score["stopped_by"] and score["lost"] is None and score["acknowledged"] is None
    assert (folder / "postmortem.md").exists()


@pytest.fixture
def somebodys_server() -> Iterator[PostgresServer]:
    home, line = runtime_home() / f"somebodys-drill-{os.getpid()}", Lifeline.create()
    make_passable(home)
    server = PostgresServer.create(home, line)
    yield server
    server.stop(immediately=True)
    shutil.rmtree(home)


def holdings(server: PostgresServer) -> set[str]:
    with psycopg.connect(server.url()) as conn:
        names = "SELECT rolname FROM pg_roles UNION SELECT datname FROM pg_database"
        return {name for (name,) in conn.execute(names).fetchall()}


@pytest.mark.soak
@pytest.mark.timeout(900)  # alone, it runs a drill to compare with as well
def test_on_a_server_that_was_given_it_scores_the_same_and_leaves_nothing_there(
    drill, run_scenario, somebodys_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = holdings(somebodys_server)
    monkeypatch.setenv("SPARE_DATABASE_URL", somebodys_server.url())
    other = run_scenario("breaking-migration", tmp_path / "given", 1, "--database-url-env", "SPARE_DATABASE_URL")
    check_passed(other)
    assert other.score["checks"] == drill.score["checks"] and other.score.keys() == drill.score.keys()
    assert other.score["severity"] == drill.score["severity"]
    assert holdings(somebodys_server) == before
    password = somebodys_server.superuser_password
    assert not [str(path) for path, content in contents(other.folder) if holds_any(content, [password])]

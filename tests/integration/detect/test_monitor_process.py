"""The monitor as a process: it survives what it watches, ends when told, and says what is wrong in one paragraph."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import psycopg
import pytest
from stub_target import StubTarget
from watched import PLAYBOOK

from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase, create_database, create_roles
from toolkit.drill.schema import migrate_up
from toolkit.incident import Incident
from toolkit.lifeline import Lifeline, spawn
from toolkit.places import runtime_home
from toolkit.server import PostgresServer


@pytest.fixture(scope="module")
def own_server(lifeline: Lifeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that a test may stop, in a folder that the server's user can enter."""
    home = Path(tempfile.mkdtemp(prefix="monitor-", dir=runtime_home()))
    home.chmod(0o711)
    server = PostgresServer.create(home, lifeline)
    yield server
    server.stop(immediately=True)
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def own_database(own_server: PostgresServer) -> ServiceDatabase:
    made = create_database(own_server, create_roles(own_server))
    with psycopg.connect(made.owner_url) as conn:
        migrate_up(conn, 8)
    return made


@pytest.fixture
def process(
    stub: StubTarget, own_database: ServiceDatabase, tmp_path: Path
) -> Iterator[tuple["subprocess.Popen[bytes]", Incident]]:
    playbook = tmp_path / "playbook.toml"
    text = (PLAYBOOK.folder / "playbook.toml").read_text()
    playbook.write_text(text.replace("poll_every_s = 0.5", "poll_every_s = 0.1"))
    argv = [sys.executable, "-m", "toolkit.detect.monitor", "--folder", tmp_path / "made" / "incident"]
    argv += ["--target", "sandbox", "--playbook", playbook]
    line = Lifeline.create()
    with (tmp_path / "monitor.log").open("wb") as log:
        child = spawn(
            argv, lifeline=line, env=dict(os.environ) | stub.environment(own_database), stdout=log, stderr=log
        )
    incident = Incident(tmp_path / "made" / "incident")
    wait_until(lambda: (e := incident.latest("monitor.observed")) and e.data["database"] == "ok", within=20, what="it")
    yield child, incident
    line.cut()
    child.wait(10)
    assert (tmp_path / "monitor.log").read_text() == ""


def test_it_survives_a_database_that_stops_and_comes_back(process, own_server: PostgresServer) -> None:
    child, incident = process
    own_server.stop(immediately=True)
    wait_until(lambda: incident.state, within=20, what="the incident")
    opened = incident.latest("incident.opened")
    assert "refused" in opened.data["reasons"][0] and child.poll() is None
    own_server.start()
    wait_until(lambda: incident.latest("monitor.recovered"), within=20, what="the recovery")
    assert child.poll() is None


def test_it_survives_a_database_that_hangs(process, own_server: PostgresServer) -> None:
    _, incident = process
    postmaster = psutil.Process(own_server.postmaster_pid())
    family = [postmaster, *postmaster.children(recursive=True)]
    for each in family:
        each.suspend()
    try:
        wait_until(lambda: incident.state, within=40, what="the incident")
        observed = [e.at for e in incident.journal.entries() if e.kind == "monitor.observed"]
        gaps = [(b - a).total_seconds() for a, b in pairwise(observed)]
        assert max(gaps) < 4, "it goes on observing meanwhile"
    finally:
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # one of a pool may have ended meanwhile
                each.resume()
    wait_until(lambda: incident.latest("monitor.recovered"), within=20, what="the recovery")


def test_sigterm_ends_it_in_order(process) -> None:
    child, incident = process
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    assert incident.latest("monitor.ended").data == {"raised": []}


def test_what_it_writes_holds_no_secret(process, stub: StubTarget) -> None:
    _, incident = process
    stub.answers.clear()
    wait_until(lambda: incident.latest("signal.raised"), within=20, what="a signal")
    written = incident.journal.path.read_text()
    assert "secret-of-the-test" not in written and "token-of-the-test" not in written and "postgresql://" not in written


def test_without_its_variables_it_says_so_in_one_paragraph(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "toolkit.detect.monitor", "--folder", str(tmp_path / "x"), "--target", "production"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "PRODUCTION_DATABASE_URL" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_it_knows_nothing_of_drills() -> None:
    """Not by import, and not by name: a drill that tells the detector measures itself."""
    code = (
        "import sys, toolkit.detect.monitor\n"
        "above = ('toolkit.drill', 'toolkit.assess', 'toolkit.rollback')\n"
        "print([name for name in sys.modules if name.startswith(above)])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

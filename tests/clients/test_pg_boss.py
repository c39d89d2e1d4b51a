"""The queue's health, read from tables that the real pg-boss made and filled, in the layouts of versions 10 and 12."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from npm_package import installed_package
from psycopg import sql

from toolkit.adapters.readings import QueueState, queue_state
from toolkit.clock import wait_until
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.server import PostgresServer

MAKE_JOBS = Path(__file__).parent / "pg_boss_jobs.mjs"
VERSIONS = {"10.4.2": "src/index.js", "12.38.0": "dist/index.js"}

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    line, home = Lifeline.create(), Path(tempfile.mkdtemp(prefix="pg-boss-", dir=runtime_home()))
    home.chmod(0o711)
    server = PostgresServer.create(home, line)
    yield server
    server.stop(immediately=True)
    shutil.rmtree(home)
    line.cut()


@pytest.mark.parametrize("version", VERSIONS)
def test_its_jobs_are_counted(server: PostgresServer, node: str, version: str) -> None:
    name = f"boss_{version.partition('.')[0]}"
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = server.url(database=name)
    entry = installed_package("pg-boss", version) / VERSIONS[version]
    environment = {"PATH": os.environ["PATH"], "PG_BOSS": str(entry), "DATABASE_URL": url}
    done = subprocess.run([node, str(MAKE_JOBS)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with psycopg.connect(url, autocommit=True) as conn:

        def seen() -> QueueState:
            found = queue_state(conn, "queue")
            assert found is not None
            return found

        wait_until(lambda: seen().stuck, within=10, what="the job to be active for longer than it may be")
        found = seen()
        assert (found.failed, found.stuck, found.ready) == (1, 1, 2)
        assert found.oldest_ready_s is not None and 0 <= found.oldest_ready_s < 60
        assert found.layout >= {"10": 24, "12": 26}[version.partition(".")[0]]
        if name == "boss_12":  # a step of a flow whose earlier steps are not done could not run
            conn.execute("UPDATE queue.job SET blocked = true WHERE name = 'waiting'")
            assert seen().ready == 0

"""A real PostgreSQL for the tests: one server for all, a fresh database for each test."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from toolkit.drill.database import ServiceDatabase, create_database, create_deployment_role, create_roles
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.server import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lifeline() -> Iterator[Lifeline]:
    """Whatever a test starts on it ends with the tests."""
    line = Lifeline.create()
    yield line
    line.cut()


@pytest.fixture(scope="session")
def cluster(lifeline: Lifeline) -> Iterator[PostgresServer]:
    """A server that all tests share. A test that stops it must start it again."""
    home = Path(tempfile.mkdtemp(prefix="test-", dir=runtime_home()))
    home.chmod(0o711)
    server = PostgresServer.create(home, lifeline)
    yield server
    server.stop(immediately=True)
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def role_passwords(cluster: PostgresServer) -> dict[str, str]:
    """Of all roles by name; `app_b6` and so on stand for the deployments' that a sandbox would have."""
    passwords = create_roles(cluster)
    for role in (f"app_b{build}" for build in range(6, 13)):
        passwords[role] = str(conninfo_to_dict(create_deployment_role(cluster.url(), role))["password"])
    return passwords


@pytest.fixture
def churn_database(cluster: PostgresServer, role_passwords: dict[str, str]) -> Iterator[ServiceDatabase]:
    """An empty database with the service's roles, dropped afterwards."""
    database = create_database(cluster, role_passwords, f"churn_{next(_numbers)}")
    yield database
    with psycopg.connect(cluster.url(), autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {database.name} WITH (FORCE)")

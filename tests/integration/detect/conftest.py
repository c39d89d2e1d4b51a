"""A target that fails as it is told, a database of version 8, and monitors that end with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from stub_target import StubTarget
from watched import Watched

from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up


@pytest.fixture
def database(churn_database: ServiceDatabase) -> ServiceDatabase:
    with psycopg.connect(churn_database.owner_url) as conn:
        migrate_up(conn, 8)
    return churn_database


@pytest.fixture
def stub() -> Iterator[StubTarget]:
    stub = StubTarget()
    yield stub
    stub.stop()


@pytest.fixture
def watch(stub: StubTarget, database: ServiceDatabase, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def start(**monitoring: float) -> Watched:
        started.append(Watched(stub, database, tmp_path / f"incident-{len(started)}", **monitoring))
        (tmp_path / "unused").mkdir(exist_ok=True)
        return started[-1]

    for number in range(3):
        (tmp_path / f"incident-{number}").mkdir()
    yield start
    for each in started:
        each.end()

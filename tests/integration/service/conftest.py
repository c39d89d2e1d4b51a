"""A schema and deployments on it, for the tests of the service."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from live_service import Deploy, live_service

from toolkit.drill.database import ServiceDatabase
from toolkit.lifeline import Lifeline


@pytest.fixture
def owner(churn_database: ServiceDatabase) -> Iterator[psycopg.Connection]:
    """The schema's owner, who sees every row."""
    with psycopg.connect(churn_database.owner_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def deploy(churn_database: ServiceDatabase, lifeline: Lifeline, tmp_path: Path) -> Iterator[Deploy]:
    """Start deployments that end with the test."""
    with ExitStack() as stack:
        yield lambda build, **variables: stack.enter_context(
            live_service(churn_database, build, lifeline, tmp_path / f"build-{build}.log", **variables)
        )

"""A target of sockets and a database of version 8 behind it, for each test anew."""

from collections.abc import Iterator

import psycopg
import pytest
from one_service import CASES, EXPORT, EXPORTED, KPIS, PLAYBOOK, Operator, Receiver
from stub_target import StubTarget, as_json

from toolkit.adapters.systems import Systems
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up


@pytest.fixture
def served_database(churn_database: ServiceDatabase) -> ServiceDatabase:
    """Version 8 with three cases of the last 14 days."""
    with psycopg.connect(churn_database.owner_url) as conn:
        migrate_up(conn, 8)
        conn.execute(
            """
            INSERT INTO recovery_cases (company_id, membership_id, user_id, failure_reason, first_failure_at)
            SELECT 'biz', 'mem_' || n, 'user_' || n, 'expired_card', now() - n * interval '1 day'
            FROM generate_series(1, 3) AS n
            """
        )
    return churn_database


@pytest.fixture
def stub(served_database: ServiceDatabase) -> Iterator[StubTarget]:
    stub = StubTarget({KPIS: as_json({"cases": 3}), CASES: as_json({"total": 3}), EXPORT: (200, *EXPORTED)})
    stub.receive, stub.act = Receiver(served_database), Operator(served_database)
    yield stub
    stub.stop()


@pytest.fixture
def systems(stub: StubTarget, served_database: ServiceDatabase) -> Iterator[Systems]:
    systems = stub.systems(PLAYBOOK, served_database)
    yield systems
    systems.platform.close()
    systems.service.close()

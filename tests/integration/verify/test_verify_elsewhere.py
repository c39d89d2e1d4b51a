"""An incident is about one server: on another nothing is sent, checked or recorded, however healthy it is."""

from dataclasses import asdict, replace
from pathlib import Path

import psycopg
import pytest

from toolkit.adapters.systems import Systems
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import WrongServerError
from toolkit.incident import Incident
from toolkit.verify import verify


@pytest.mark.parametrize("kind", ["assessment.made", "plan.made"])
def test_another_server_is_refused_before_anything_is_sent(
    systems: Systems, served_database: ServiceDatabase, tmp_path: Path, kind: str
) -> None:
    incident = Incident(tmp_path)
    elsewhere = replace(systems.database.identity(), system_identifier="7711557539433727590")
    incident.record(kind, {"server": asdict(elsewhere)}, actor="test")
    with psycopg.connect(served_database.admin_url) as conn:
        before = conn.execute("SELECT count(*), max(created_at) FROM events").fetchone()
        with pytest.raises(WrongServerError, match="not churn"):
            verify(systems, incident, actor="test", vouch="even so")
        assert conn.execute("SELECT count(*), max(created_at) FROM events").fetchone() == before
    assert [entry.kind for entry in incident.journal.entries()] == [kind]

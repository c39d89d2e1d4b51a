"""An incident is about one server: on another nothing is sent, checked or recorded, however healthy it is."""

from dataclasses import asdict, replace
from pathlib import Path

import psycopg
import pytest
from stub_target import PRODUCTION

from toolkit.adapters.postgres import StablePoint
from toolkit.adapters.systems import Systems
from toolkit.checks import Outcome, run_check
from toolkit.clock import utc_now
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import DatabaseError, WrongServerError
from toolkit.incident import Incident
from toolkit.verify import Expectation, verdict, verify
from toolkit.verify.database import database_checks


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


def meant(systems: Systems, **recorded: str | None) -> Outcome:
    stable = StablePoint(8, PRODUCTION, utc_now(), {"server": recorded})
    return run_check(database_checks(systems, Expectation(8, PRODUCTION, stable, None))[0]).outcome


def test_which_server_it_is_is_unknown_where_nobody_can_tell(
    systems: Systems, served_database: ServiceDatabase
) -> None:
    here = systems.database.identity()
    assert meant(systems, database=here.database, system_identifier=here.system_identifier) is Outcome.PASS
    assert meant(systems, database=here.database, system_identifier="7711557539433727590") is Outcome.FAIL
    assert meant(systems, database="another", system_identifier=here.system_identifier) is Outcome.FAIL
    assert meant(systems) is meant(systems, database=here.database) is Outcome.UNKNOWN
    with psycopg.connect(served_database.admin_url) as conn:
        conn.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    assert meant(systems, database=here.database, system_identifier=here.system_identifier) is Outcome.UNKNOWN


@pytest.mark.parametrize(("sandbox", "window_s"), [(False, 120.0), (True, verdict.STEADY_WINDOW_S)])
def test_what_is_vouched_for_is_measured_for_as_long_as_it_is_verified(
    systems: Systems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: bool, window_s: float
) -> None:
    """Five seconds hold too few requests of a production to say what is normal."""
    asked: list[float] = []

    def measure(_systems: Systems, seconds: float) -> None:
        asked.append(seconds)
        raise DatabaseError("seen enough")

    monkeypatch.setattr(verdict, "measure_baseline", measure)
    monitoring = systems.target.monitoring.model_copy(update={"window_s": 120.0})
    target = systems.target.model_copy(update={"sandbox": sandbox, "monitoring": monitoring})
    with pytest.raises(DatabaseError, match="seen enough"):
        verify(replace(systems, target=target), Incident(tmp_path), actor="test", vouch="a good day")
    assert asked == [window_s]

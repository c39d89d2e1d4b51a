"""Another service by configuration alone: dbmate, no hosting platform, no webhooks, no queue; on a real database.

The same commands assess it, verify it, and roll a migration back; what it lacks is not checked and not waited for.
"""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from toolkit.adapters.systems import Systems, connect
from toolkit.assess import assess
from toolkit.checks import Outcome
from toolkit.cli import main
from toolkit.drill.database import ServiceDatabase
from toolkit.incident import Incident, State
from toolkit.playbook import Severity, load_playbook
from toolkit.verify import verify

HOME = Path(__file__).parent / "parcel_tracker"
FIRST, SECOND = 20260301080000, 20261115093000
WAREHOUSE = """
CREATE TABLE public.schema_migrations (version varchar PRIMARY KEY);
INSERT INTO depot.parcels (sent_to, weight_g) SELECT 'street ' || n, n FROM generate_series(1, 50) AS n;
INSERT INTO depot.scans SELECT 'b' || id, id, now() - id * interval '1 second' FROM depot.parcels;
"""

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def depot(churn_database: ServiceDatabase) -> ServiceDatabase:
    """At the first migration."""
    with psycopg.connect(churn_database.owner_url, autocommit=True) as conn:
        conn.execute(script(FIRST, "up"))
        conn.execute(WAREHOUSE)
        conn.execute("INSERT INTO schema_migrations VALUES (%s)", [str(FIRST)])
    return churn_database


def script(version: int, part: str) -> str:
    text = next((HOME / "migrations").glob(f"{version}_*.sql")).read_text()
    up, down = text.split("-- migrate:down")
    return up.removeprefix("-- migrate:up") if part == "up" else down


def migrate(depot: ServiceDatabase) -> None:
    """To the second, with lockers in use."""
    with psycopg.connect(depot.owner_url, autocommit=True) as conn:
        conn.execute(script(SECOND, "up"))
        conn.execute("UPDATE depot.parcels SET locker = 'L' || id WHERE id <= 5")
        conn.execute("INSERT INTO schema_migrations VALUES (%s)", [str(SECOND)])


@pytest.fixture
def containers(depot: ServiceDatabase) -> Iterator[str]:
    """The service itself: it says OK in plain text, and counts its parcels."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with psycopg.connect(depot.owner_url) as conn:
                row = conn.execute("SELECT count(*) FROM depot.parcels").fetchone()
            shown = json.dumps({"parcels": row[0] if row else None})
            kind, text = ("text/plain", "OK") if self.path == "/up" else ("application/json", shown)
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def systems(depot: ServiceDatabase, containers: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systems]:
    monkeypatch.setenv("PARCELS_DATABASE", depot.owner_url)
    monkeypatch.setenv("PARCELS_URL", containers)
    book = load_playbook(HOME / "playbook.toml")
    found = connect(book, book.target("depot"))
    yield found
    found.platform.close()
    found.service.close()


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    found = Incident(tmp_path / "incident")
    found.folder.mkdir()
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], incident: Incident, systems: Systems) -> Run:
    def call(*words: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--playbook", str(HOME / "playbook.toml"), "--incident", str(incident.folder), "--json"])
        out = capsys.readouterr().out
        return int(ended.value.code or 0), json.loads(out)

    return call


def not_passed(results: Any) -> dict[str, str]:
    return {each.name: each.evidence for each in results if each.outcome is not Outcome.PASS}


def test_it_is_assessed_verified_rolled_back_and_verified_again(
    systems: Systems, depot: ServiceDatabase, incident: Incident, run: Run
) -> None:
    good = verify(systems, incident, actor="shift", vouch="a quiet day")
    assert not_passed(good.results) == {}
    good.conclude()
    migrate(depot)
    incident.open(Severity.P0, ["No scanner works"], actor="shift")

    found = assess(systems, incident, actor="shift")
    assert set(not_passed(found.status)) == {"migrations"}
    assert not {each.area for each in found.status} & {"deployments", "logs", "queue"}
    assert found.facts.platform_up is None

    code, told = run("rollback", f"--migration-target={FIRST}", "--target", "depot")
    assert code == 0 and told["waits_for"] == ["before.belts"]
    code, told = run("rollback", "--last-stable", "--target", "depot", "--execute")
    assert code == 1 and "The belts stand still" in told["error"]
    assert run("checklist", "tick", "before.belts", "--by", "Shift Lead")[0] == 0
    code, told = run("rollback", "--last-stable", "--target", "depot", "--execute")
    assert code == 0, told
    assert {each["outcome"] for each in [*told["recovery"], *told["database"]]} == {"pass"}
    assert told["rehearsal"]["outcome"] == "pass" and incident.state is State.MITIGATED
    with psycopg.connect(depot.owner_url) as conn:
        assert conn.execute("SELECT version FROM schema_migrations").fetchall() == [(str(FIRST),)]
        salvaged = [
            schema for (schema,) in conn.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^salvage_'")
        ]
    assert len(salvaged) == 1, "the lockers are kept"

    again = verify(systems, incident, actor="shift")
    assert not_passed(again.results) == {}
    again.conclude()
    assert incident.state is State.RESOLVED

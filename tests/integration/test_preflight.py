"""Preflight by mutation: all is well; then one precondition is taken away, and exactly its check does not pass."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from stub_target import PRODUCTION, StubTarget

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import ServerIdentity
from toolkit.adapters.systems import Systems
from toolkit.assess.preflight import Readiness, access, preflight, standby
from toolkit.checks import Outcome
from toolkit.clock import utc_now
from toolkit.drill.database import ServiceDatabase, create_database
from toolkit.drill.schema import MIGRATIONS, migrate_up
from toolkit.incident import Incident
from toolkit.playbook import load_playbook
from toolkit.rollback.backup import keeping, make_backup
from toolkit.rollback.backup.verified import Level, record_verified
from toolkit.rollback.scratch import Scratch, scratch_server
from toolkit.server import PostgresServer

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "playbook.toml").read_text()


@pytest.fixture(scope="module")
def stub() -> Iterator[StubTarget]:
    stub = StubTarget(earlier=("dpl_7",))
    yield stub
    stub.stop()


@pytest.fixture(scope="module")
def database(cluster: PostgresServer, role_passwords: dict[str, str]) -> Iterator[ServiceDatabase]:
    made = create_database(cluster, role_passwords, "churn_preflight")
    with psycopg.connect(made.owner_url) as conn:
        migrate_up(conn, 8)
    yield made
    with psycopg.connect(cluster.url(), autocommit=True) as conn:
        conn.execute("DROP DATABASE churn_preflight WITH (FORCE)")


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with scratch_server() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A playbook whose people are filled in, a folder of eight migrations, and reports with a drill that passed."""
    home = tmp_path_factory.mktemp("preflight")
    filled = TEXT.replace("# contacts_checked = 2026-11-24 ", f"contacts_checked = {utc_now():%Y-%m-%d} ")
    for placeholder in ("[Name]", "[Phone]", "[Slack]", "[Email]", "[Support Portal]"):
        filled = filled.replace(
            f'"{placeholder}"', '"night@churn-saver.io"' if placeholder == "[Email]" else '"+49 30 4321765"'
        )
    (home / "playbook.toml").write_text(filled)
    (home / "migrations").mkdir()
    for file in MIGRATIONS.glob("*.sql"):
        if file.name < "009":
            (home / "migrations" / file.name).write_bytes(file.read_bytes())
    drill = home / "reports" / "drills" / "one"
    drill.mkdir(parents=True)
    (drill / "score.json").write_text(json.dumps({"outcome": "resolved", "verified": True, "lost": 0}))
    return home


@pytest.fixture(scope="module")
def systems(stub: StubTarget, database: ServiceDatabase, home: Path) -> Iterator[Systems]:
    made = stub.systems(load_playbook(home / "playbook.toml"), database)
    made = replace(made, target=made.target.model_copy(update={"migrations": home / "migrations", "backups": None}))
    made.database.prepare()
    made.database.record_stable(8, PRODUCTION, {})
    incident = Incident(home / "reports" / "incidents" / "one")
    incident.folder.mkdir(parents=True)
    backup = make_backup(made, incident.folder / "backup", incident=incident, actor="tester")
    record_verified(backup.folder, backup.manifest_sha256, Level.RESTORED, [])
    yield made
    made.platform.close()
    made.service.close()


def not_passed(systems: Systems, home: Path, scratch: Scratch, *, later: timedelta = timedelta(0)) -> set[str]:
    def same(_: ServerIdentity | None) -> AbstractContextManager[Scratch]:
        return nullcontext(scratch)

    found = preflight(systems, home / "reports", now=utc_now() + later, scratch=same)
    return {each.result.name for each in found if told(each)}


def told(each: Readiness) -> bool:
    """Whether it did not pass; then it says what to do."""
    bad = each.result.outcome is not Outcome.PASS
    assert bad == bool(each.next), each
    return bad


Mutate = Callable[[pytest.MonkeyPatch, Systems, StubTarget, Path], Systems | None]


def _unset(_: pytest.MonkeyPatch, systems: Systems, __: StubTarget, ___: Path) -> Systems:
    return replace(systems, target=systems.target.model_copy(update={"unset": {"cron_secret": "CRON_SECRET"}}))


def _no_way_back(patch: pytest.MonkeyPatch, _: Systems, stub: StubTarget, __: Path) -> None:
    patch.setattr(stub, "earlier", ())


def _sick(patch: pytest.MonkeyPatch, _: Systems, stub: StubTarget, __: Path) -> None:
    patch.setitem(stub.answers, "/api/health", (503, "application/json", '{"status": "unhealthy"}'))


def _old_programs(patch: pytest.MonkeyPatch, *_: object) -> None:
    patch.setattr(PgTools, "version", lambda *_: "9.6.1")


def _full_disk(patch: pytest.MonkeyPatch, *_: object) -> None:
    patch.setattr(access, "free_bytes", lambda _: 1000)


def _never_verified(patch: pytest.MonkeyPatch, systems: Systems, *_: object) -> None:
    patch.setattr(type(systems.database), "stable_points", lambda _: [])


def _never_restored(patch: pytest.MonkeyPatch, *_: object) -> None:
    patch.setattr(keeping, "read_verified", lambda *_: None)


def _no_drill(patch: pytest.MonkeyPatch, *_: object) -> None:
    patch.setattr(standby, "SCORE", "none.json")


def _placeholder(patch: pytest.MonkeyPatch, systems: Systems, _: StubTarget, home: Path) -> Systems:
    folder = home / "unfilled"
    folder.mkdir(exist_ok=True)
    (folder / "playbook.toml").write_text(
        (home / "playbook.toml").read_text().replace('"+49 30 4321765"', '"[Phone]"', 1)
    )
    return replace(systems, playbook=systems.playbook.model_copy(update={"folder": folder}))


def _no_token(patch: pytest.MonkeyPatch, systems: Systems, *_: object) -> None:
    def refuse(_: object) -> None:
        from toolkit.errors import PlatformError

        raise PlatformError("GET project was answered with 403")

    patch.setattr(type(systems.platform), "project", refuse)


MUTATIONS: dict[str, Mutate] = {
    "settings": _unset,
    "deployment to go back to": _no_way_back,
    "service answers": _sick,
    "programs": _old_programs,
    "disk": _full_disk,
    "stable point": _never_verified,
    "restored backup": _never_restored,
    "last drill": _no_drill,
    "contacts": _placeholder,
    "platform takes our token": _no_token,
}


def test_all_is_well(systems: Systems, home: Path, scratch: Scratch) -> None:
    assert not_passed(systems, home, scratch) == set()


@pytest.mark.parametrize("name", MUTATIONS)
def test_exactly_what_was_taken_away_is_told(
    name: str, systems: Systems, stub: StubTarget, home: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = MUTATIONS[name](monkeypatch, systems, stub, home) or systems
    assert not_passed(changed, home, scratch) == {name}


@pytest.mark.parametrize(
    ("taken", "given", "name"),
    [
        ("REVOKE churn_owner FROM toolkit", "GRANT churn_owner TO toolkit", "rights on the tables"),
        (
            "REVOKE pg_monitor FROM toolkit",
            "GRANT pg_monitor TO toolkit",
            "sees other sessions",
        ),
        ("CREATE EXTENSION citext SCHEMA public", "DROP EXTENSION citext", "scratch server"),
    ],
    ids=["owner", "monitor", "extension"],
)
def test_rights_and_extensions_of_the_server_itself(
    taken: str,
    given: str,
    name: str,
    systems: Systems,
    database: ServiceDatabase,
    home: Path,
    scratch: Scratch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "citext" in taken:
        monkeypatch.setattr("toolkit.assess.preflight.practice.create_extension", _lacks)
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute(taken)
        try:
            found = not_passed(systems, home, scratch)
        finally:
            admin.execute(given)
    assert name in found


def _lacks(*_: object) -> list[str]:
    from toolkit.errors import DatabaseError

    raise DatabaseError("extension is not available")


def test_a_down_that_does_not_run_is_found_by_running_it(systems: Systems, home: Path, scratch: Scratch) -> None:
    newest = next((home / "migrations").glob("008*.down.sql"))
    kept = newest.read_bytes()
    try:
        newest.write_text("ALTER TABLE nowhere DROP COLUMN c;")
        assert not_passed(systems, home, scratch) == {"newest downs, run"}
        newest.unlink()
        assert not_passed(systems, home, scratch) == {"every migration has a down", "newest downs, run"}
    finally:
        newest.write_bytes(kept)


def test_a_backup_and_a_drill_grow_old(systems: Systems, home: Path, scratch: Scratch) -> None:
    assert not_passed(systems, home, scratch, later=timedelta(days=2)) == {"fresh backup"}
    old = not_passed(systems, home, scratch, later=timedelta(days=40))
    assert old == {"fresh backup", "restored backup", "last drill", "contacts"}


def test_nothing_that_was_tried_is_left(systems: Systems, database: ServiceDatabase) -> None:
    with psycopg.connect(database.admin_url) as conn:
        assert conn.execute("SELECT FROM pg_namespace WHERE nspname = 'toolkit_preflight'").fetchone() is None

"""`toolkit migration` on a real database: what it tells of the folder, and of a migration that stopped half-way."""

import json
from pathlib import Path

import psycopg
import pytest

from toolkit.adapters.systems import connect
from toolkit.assess.standing import _folder
from toolkit.cli import main
from toolkit.drill.database import ServiceDatabase
from toolkit.playbook import load_playbook

FILES = {
    "001_shops.up.sql": "CREATE TABLE shops (id bigint PRIMARY KEY);",
    "001_shops.down.sql": "DROP TABLE shops;",
    "002_visits.up.sql": "CREATE TABLE visits (id bigint); CREATE TABLE tills (id bigint);",
    "002_visits.down.sql": "DROP TABLE tills; DROP TABLE visits;",
    "003_later.up.sql": "CREATE TABLE later (id bigint);",
    "003_later.down.sql": "DROP TABLE later;",
}


@pytest.fixture
def run(
    churn_database: ServiceDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Runs a command on a target with version 2 half applied; only its database is known."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
        conn.execute("CREATE TABLE shops (id bigint PRIMARY KEY)")
        conn.execute("CREATE TABLE visits (id bigint)")
        conn.execute("INSERT INTO schema_migrations VALUES (2, true)")
    monkeypatch.setenv("TOOLKIT_SANDBOX", "none-of-this-name")
    monkeypatch.setenv("DATABASE_URL", churn_database.toolkit_url)
    monkeypatch.setenv("MIGRATIONS_FOLDER", str(tmp_path))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["migration", *words, "--target", "sandbox"])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_the_status_tells_what_waits_and_what_is_half_done(run) -> None:
    code, out, _ = run("status", "--json")
    told = json.loads(out)
    assert (code, told["version"], told["dirty"], told["pending"]) == (3, 2, True, [3])
    assert told["differences"] == ["half done: 2"]
    assert "toolkit migration diagnose --target sandbox" in run("status")[1]
    book = load_playbook(Path("playbook.toml"))
    evidence = _folder(connect(book, book.target("sandbox", database_only=True))).evidence
    assert "golang-migrate" in evidence and "waiting: 3" in evidence and "half done: 2" in evidence


def test_the_diagnosis_shows_what_finishes_it_and_what_undoes_it(run) -> None:
    code, out, err = run("diagnose", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["verdict"], told["label"]) == ("partly applied", "2")
    assert ["tills" in each for each in told["finish"]] == [True]
    assert ["visits" in each for each in told["undo"]] == [True]
    assert set(told["proved"]) == {"finish", "undo"}
    assert "migrate force 2" in told["recorded"]["finished"]["said"]
    assert "DROP TABLE" in run("diagnose")[1]
    code, _, err = run("diagnose", "--migration", "77")
    assert code == 2 and "There is no migration '77'" in err

"""sqitch's verify scripts are run as sqitch runs them, on the change that is current, and nothing of them stays."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from tool_tables import TOOLS

from toolkit.adapters.postgres import Database
from toolkit.checks import CheckResult
from toolkit.drill.database import ServiceDatabase
from toolkit.rollback.own_verify import verified_by_script

PLAN = "%project=x\n\nevents 2024-01-01T00:00:00Z Ann <a@b.org> # e\ncases 2024-01-02T00:00:00Z Ann <a@b.org> # c\n"
TABLE = "SELECT count(*) FROM pg_class WHERE relname = 'left_by_verify'"


@pytest.fixture
def live(churn_database: ServiceDatabase) -> ServiceDatabase:
    """The owner's, with sqitch's tables, at change 2 of 2."""
    with psycopg.connect(churn_database.owner_url, autocommit=True) as conn:
        conn.execute(TOOLS["sqitch"].empty)
        conn.execute(TOOLS["sqitch"].clean)
        conn.execute("CREATE TABLE events (id int)")
    return churn_database


def verified(live: ServiceDatabase, folder: Path, version: int | None = 1, **scripts: str) -> list[CheckResult]:
    (folder / "sqitch.plan").write_text(PLAN)
    for kind in ("deploy", "revert", "verify"):
        (folder / kind).mkdir(exist_ok=True)
    for change in ("events", "cases"):
        (folder / "deploy" / f"{change}.sql").write_text("SELECT 1;")
    for change, text in scripts.items():
        (folder / "verify" / f"{change}.sql").write_text(text)
    systems: Any = SimpleNamespace(
        database=Database(SecretStr(live.toolkit_url), target="test"),
        target=SimpleNamespace(migrations=folder, name="test"),
        playbook=SimpleNamespace(database=SimpleNamespace(state_table="sqitch.changes")),
    )
    return verified_by_script(systems, version)


def test_one_that_passes_leaves_nothing(live: ServiceDatabase, tmp_path: Path) -> None:
    script = "BEGIN;\nCREATE TABLE left_by_verify AS SELECT current_user AS who;\nSELECT id FROM events;\nROLLBACK;\n"
    (result,) = verified(live, tmp_path, events=script, cases="SELECT nothing FROM nowhere;")
    assert result.outcome == "pass" and "verify/events.sql ran" in result.evidence
    with psycopg.connect(live.owner_url) as conn:
        assert conn.execute(TABLE).fetchone() == (0,)


@pytest.mark.parametrize(
    ("script", "outcome", "why"),
    [
        ("BEGIN; SELECT gone FROM events WHERE false; ROLLBACK;", "fail", 'column "gone" does not exist'),
        ("SELECT 1 / count(*) FROM events;", "fail", "division by zero"),
        ("DO $$ BEGIN ASSERT false, 'not as it should be'; END $$;", "fail", "not as it should be"),
        ("\\set x 1\nSELECT 1;", "unknown", "psql's own commands"),
        ("BEGIN; CREATE TABLE left_by_verify (); COMMIT; SELECT 1;", "unknown", "ends the transaction"),
        ("SELECT pg_read_file('/etc/hostname');", "unknown", "permission denied"),
    ],
)
def test_what_does_not_pass(live: ServiceDatabase, tmp_path: Path, script: str, outcome: str, why: str) -> None:
    (result,) = verified(live, tmp_path, events=script)
    assert result.outcome == outcome and why in result.evidence
    with psycopg.connect(live.owner_url) as conn:
        assert conn.execute(TABLE).fetchone() == (0,)


def test_a_change_without_one_has_no_check(live: ServiceDatabase, tmp_path: Path) -> None:
    assert verified(live, tmp_path, cases="SELECT 1;") == []
    assert verified(live, tmp_path, None) == []

"""Undoing a half-applied migration must not call clean what it leaves changed, unless somebody says why it may."""

from pathlib import Path

import pytest

from toolkit.adapters.postgres import ServerIdentity
from toolkit.errors import RollbackError
from toolkit.rollback.changed_rows import left_by
from toolkit.rollback.diagnosis import Diagnosis
from toolkit.rollback.half_applied import Verdict
from toolkit.rollback.mending import plan_mending
from toolkit.rollback.migrations import Migration, MigrationFolder, Script
from toolkit.rollback.plan import Plan
from toolkit.rollback.recording import Recording
from toolkit.rollback.situation import Releases, Situation
from toolkit.rollback.sql_lexer import statements
from toolkit.rollback.state_tables import Found, GolangMigrate, Recorded, against
from toolkit.verify.fingerprints import SchemaObject, SchemaSignature

SERVER = ServerIdentity("7001", "churn", "127.0.0.1", 5432, "18.6")
FOLDER = MigrationFolder(
    Path("migrations"),
    {n: Migration(n, "m", Script(f"{n:03}_m.up.sql", b"SELECT 1"), None) for n in (8, 9)},
)
RECORDING = Recording((), "migrate force 8")
LEFT = "the UPDATE CREATOR_SETTINGS in line 3 changed public.creator_settings.incentive_days"


def schema(**tables: dict[str, str]) -> SchemaSignature:
    found = []
    for table, columns in tables.items():
        found.append(SchemaObject("table", f"public.{table}", f"public.{table}", ""))
        found += [SchemaObject("column", f"public.{table}.{c}", f"public.{table}", d) for c, d in columns.items()]
    return SchemaSignature(18, tuple(found))


START = schema(t={"a": "integer", "n": "numeric(12,2)"})
LATER = schema(t={"a": "integer", "n": "numeric(12,2)", "fresh": "text"}, made={"id": "integer"})


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("UPDATE t SET fresh = 'x'", ()),
        ("UPDATE public.t SET fresh = 'x', a = 1", ("changed public.t.a",)),
        ("UPDATE t AS x SET a = b.a FROM b", ("changed public.t.a",)),
        ("INSERT INTO made VALUES (1)", ()),
        ("INSERT INTO t VALUES (1)", ("inserted into public.t",)),
        ("DELETE FROM t WHERE a = 1", ("deleted from public.t",)),
        ("TRUNCATE t", ("deleted from public.t",)),
        ("DO $$ BEGIN UPDATE t SET a = 1; END $$", ("changed rows that its text does not tell",)),
        ("SELECT repair()", ("changed rows that its text does not tell",)),
        ("SELECT pg_catalog.set_config('search_path', '', false)", ()),
        ("SET lock_timeout = '5s'", ()),
        ("ANALYZE t", ()),
    ],
)
def test_what_goes_with_the_schema_is_not_left(text: str, left: tuple[str, ...]) -> None:
    assert left_by(statements(text)[0], START, LATER, LATER) == left


@pytest.mark.parametrize(
    ("text", "now", "left"),
    [
        ("ALTER TABLE t ALTER n TYPE numeric(6,2)", "numeric(6,2)", True),
        ("ALTER TABLE t ALTER n TYPE numeric(14,2)", "numeric(14,2)", False),
        ("ALTER TABLE t ALTER n TYPE text USING left(n::text, 1)", "text", True),
    ],
)
def test_a_conversion_that_may_lose_values_is_left(text: str, now: str, left: bool) -> None:
    after = schema(t={"a": "integer", "n": now})
    assert left_by(statements(text)[0], START, START, after) == (("changed public.t.n",) if left else ())


def mending(*left_rows: str, rows_stay: str = "", tool: str = "golang-migrate", **found: object) -> Plan:
    state = against(Found(tool, "public", "schema_migrations", GolangMigrate()), Recorded(9, True), FOLDER)
    releases = Releases(None, unread="nobody asked")
    situation = Situation("churn-saver", "sandbox", SERVER, False, releases, folder=FOLDER, state=state)
    told = {"verdict": Verdict.PARTLY, "undo": ("DROP TABLE made",), "proved": ("undo",), "undone": RECORDING} | found
    diagnosis = Diagnosis(9, "9", "m", "sandbox", True, RECORDING, left_rows=left_rows, **told)
    return plan_mending(situation, diagnosis, to=8, rows_stay=rows_stay)


def test_rows_that_stay_changed_are_no_clean_version() -> None:
    with pytest.raises(RollbackError, match=r"changed public\.creator_settings\.incentive_days") as refused:
        mending(LEFT)
    assert "--backup-restore=newest" in refused.value.next and "--rows-stay REASON" in refused.value.next
    assert "still says dirty" in refused.value.state


def test_somebody_may_say_why_they_stay_and_the_plan_tells_it() -> None:
    plan = mending(LEFT, rows_stay="finance approved 99")
    assert "finance approved 99" in plan.steps[0].why and plan.id != mending().id
    assert any(LEFT in each and "finance approved 99" in each for each in plan.reasons)


def test_another_tool_s_half_is_refused_with_what_undoes_it_by_hand() -> None:
    with pytest.raises(RollbackError, match="not undone here for Flyway") as refused:
        mending(tool="Flyway", undone=Recording("`flyway repair` takes the failed line away"))
    assert "DROP TABLE made; then `flyway repair` takes the failed line away" in str(refused.value.next)


def test_without_such_rows_nothing_is_asked() -> None:
    assert mending().steps[0].id == "mend-9" and "Rows stay" not in mending(rows_stay="whatever").steps[0].why


def test_a_way_back_that_was_not_proved_is_none_though_it_needs_no_statement() -> None:
    with pytest.raises(RollbackError, match="did not lead back"):
        mending(undo=(), proved=())

"""A folder of migrations is read as the migration tool reads it, and a down that is none is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import RollbackError, UsageError
from toolkit.playbook import Database
from toolkit.rollback.migrations import Migration, MigrationFolder, read_folder
from toolkit.rollback.state_tables import TOOLS, Found, GolangMigrate, Recorded, against, choose, identify
from toolkit.rollback.state_tables.reading import _require_its_folder


def test_versions_order_as_numbers_whatever_their_width(tmp_path: Path) -> None:
    names = ["9_nine", "0010_ten", "1_one", "20261124030000_late", "2_two-dashes_and-more", "003-not_its"]
    for name in names:
        (tmp_path / f"{name}.up.sql").write_text("SELECT 1")
        (tmp_path / f"{name}.down.sql").write_text("DROP TABLE x")
    found = read_folder(tmp_path)
    assert found.versions == [1, 2, 9, 10, 20261124030000]
    assert found.ignored == ("003-not_its.down.sql", "003-not_its.up.sql"), "golang-migrate passes it over"
    assert [m.name for m in found.migrations.values()] == ["one", "two-dashes_and-more", "nine", "ten", "late"]
    assert (found.before(9), found.before(1), found.before(99)) == (2, None, 10)
    assert [m.version for m in found.between(2, 10)] == [10, 9]
    assert [m.version for m in found.between(None, 2)] == [2, 1]


def test_a_folder_of_nothing_but_dashes_is_numbered_by_them(tmp_path: Path) -> None:
    for name in ("001-a.up.sql", "001-a.down.sql", "2-b.up.sql"):
        (tmp_path / name).write_text("SELECT 1")
    assert [m.name for m in read_folder(tmp_path).migrations.values()] == ["a", "b"]


def test_what_is_no_migration_is_named(tmp_path: Path) -> None:
    for name in ("1_a.up.sql", "README.md", "seed.sql", "2_b.sql", "99999999999999999999_c.up.sql", ".1_d.up.sql.swp"):
        (tmp_path / name).write_text("SELECT 1")
    found = read_folder(tmp_path)
    assert found.versions == [1]
    assert found.ignored == ("2_b.sql", "99999999999999999999_c.up.sql", "seed.sql")


def test_two_files_of_one_version_are_refused(tmp_path: Path) -> None:
    for name in ("7_a.up.sql", "07_b.up.sql"):
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(RollbackError, match=r"Version 7 has two files to go up: 07_b\.up\.sql and 7_a\.up\.sql"):
        read_folder(tmp_path)


def test_no_folder_and_an_empty_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder of migrations"):
        read_folder(tmp_path / "gone")
    with pytest.raises(UsageError, match="holds no migration"):
        read_folder(tmp_path)


def test_what_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_a.down.sql").write_bytes(b"-- caf\xe9\nDROP TABLE a")
    with pytest.raises(RollbackError, match="not UTF-8"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("down", "problem"),
    [
        (None, "it has no down"),
        (b"", "its down holds no statement"),
        (b"  \n;;\n-- DROP TABLE a;\n/* DROP TABLE b */", "its down holds no statement"),
        (b"DROP TABLE a; COMMIT;", "its down ends the transaction that it runs in (COMMIT, line 1)"),
        (b"-- a\nBEGIN;\nDROP TABLE a;\nEND", "its down ends the transaction that it runs in (BEGIN, line 2)"),
        (b"DROP INDEX CONCURRENTLY i", None),  # run singly: Script.alone
        (b"DROP TABLE 'a", "its down is malformed: A string that begins in line 1 has no end"),
        (b"\xef\xbb\xbfDROP TABLE a", "byte order mark"),
        (b"DROP TABLE a\0", "zero byte"),
        (b"DROP TABLE a; -- COMMIT", None),
        (b"DO $$ BEGIN DROP TABLE a; END $$", None),
    ],
)
def test_a_down_that_is_none_is_told(tmp_path: Path, down: bytes | None, problem: str | None) -> None:
    (tmp_path / "1_a.up.sql").write_text("SELECT 1")
    if down is not None:
        (tmp_path / "1_a.down.sql").write_bytes(down)
    said = read_folder(tmp_path).migrations[1].down_problem
    assert said == problem if problem is None else problem in str(said)


def test_the_sandbox_s_migrations_all_go_down() -> None:
    found = read_folder(Path(__file__).parents[2] / "toolkit" / "drill" / "schema" / "migrations")
    assert found.versions == list(range(1, 13))
    assert [m.down_problem for m in found.migrations.values()] == [None] * 12


@pytest.mark.parametrize(
    ("table", "columns", "tool"),
    [
        ("schema_migrations", ["version", "dirty"], "golang-migrate"),
        ("schema_migrations", ["version"], "dbmate"),
        ("schema_migrations", ["version", "statements", "name"], "the Supabase CLI"),
        ("pgmigrations", ["id", "name", "run_on"], "node-pg-migrate"),
        ("flyway_schema_history", ["installed_rank", "version", "success", "checksum"], "Flyway"),
        ("alembic_version", ["version_num"], "Alembic"),
        ("migrations", ["id", "timestamp", "name"], None),
        ("schema_migrations", ["id"], None),
    ],
)
def test_tools_are_told_apart_by_their_columns(table: str, columns: list[str], tool: str | None) -> None:
    found = identify("public", table, columns)
    assert (found and found.tool) == tool


def test_every_tool_is_known_by_one_table() -> None:
    assert len(TOOLS) == 15  # the thirteen of the facts, goose and diesel
    for known in TOOLS:
        found = identify("any", known.table, sorted(known.has))
        assert found is not None and found.tool == known.tool


GOLANG = Found("golang-migrate", "public", "schema_migrations", GolangMigrate())
FLYWAY = Found("Flyway", "public", "flyway_schema_history", None)


def test_the_playbook_s_state_table_settles_it() -> None:
    assert choose([FLYWAY, GOLANG], "schema_migrations", target="t") is GOLANG
    assert choose([GOLANG], "elsewhere.migrations", target="t") is GOLANG
    with pytest.raises(RollbackError, match=r"Several .*Flyway.*golang-migrate"):
        choose([FLYWAY, GOLANG], "other", target="t")
    with pytest.raises(RollbackError, match="No migration tool's state table was found") as raised:
        choose([], "schema_migrations", target="t")
    assert "the version is unknown" in str(raised.value)


@pytest.mark.parametrize(
    ("version", "applied", "pending", "drift"),
    [(None, (), (1, 2, 9), ()), (2, (1, 2), (9,), ()), (9, (1, 2, 9), (), ()), (5, (1, 2), (9,), (5,))],
)
def test_the_table_is_held_against_the_folder(
    tmp_path: Path, version: int | None, applied: object, pending: object, drift: object
) -> None:
    for number in (1, 2, 9):
        (tmp_path / f"{number}_m.up.sql").write_text("SELECT 1")
    state = against(GOLANG, Recorded(version, False), read_folder(tmp_path))
    assert (state.version, state.applied, state.pending, state.drift) == (version, applied, pending, drift)


DBMATE = Found("dbmate", "public", "schema_migrations", None)


@given(
    there=st.sets(st.integers(1, 40), min_size=1, max_size=12),
    recorded=st.sets(st.integers(1, 40), max_size=12),
)
def test_each_version_is_applied_or_pending_and_what_is_not_there_is_drift(there: set[int], recorded: set[int]) -> None:
    made = {v: Migration(v, "m", None, None, f"{v:014}") for v in sorted(there)}
    labels = tuple(f"{v:014}" for v in sorted(recorded))
    table = Recorded(max(recorded, default=None), False, labels)
    state = against(DBMATE, table, MigrationFolder(Path("m"), made))
    assert set(state.applied) == there & recorded and set(state.pending) == there - recorded
    assert set(state.drift) == recorded - there
    assert state.version == max(recorded, default=None)
    assert any("Not applied" in problem for problem in state.problems) == (
        not state.drift and any(v < max(recorded, default=0) for v in state.pending)
    )


def test_with_no_table_named_several_are_an_error_and_one_of_another_tool_s_is_too(tmp_path: Path) -> None:
    leftover = Found("golang-migrate", "public", "schema_migrations", GolangMigrate())
    flyway = Found("Flyway", "public", "flyway_schema_history", None)
    with pytest.raises(RollbackError, match="Several migration tools"):
        choose([leftover, flyway], Database.model_fields["state_table"].default)
    (tmp_path / "V1__a.sql").write_text("SELECT 1")
    folder = read_folder(tmp_path)
    _require_its_folder(flyway, folder, "sandbox")
    with pytest.raises(RollbackError, match=r"is golang-migrate's, but .* is laid out as flyway's"):
        _require_its_folder(leftover, folder, "sandbox")

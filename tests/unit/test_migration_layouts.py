"""Each tool's layout is read as that tool reads it: order, markers, missing downs, and what it would refuse itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import RollbackError, ToolkitError, UsageError
from toolkit.rollback.migrations import LAYOUTS, MigrationFolder, Script, read_folder, read_script
from toolkit.rollback.migrations.layout import Entry, numbered
from toolkit.rollback.migrations.sqitch import ENDS, without_outer_transaction

DBMATE = "-- migrate:up\nCREATE TABLE t ();\n-- migrate:down\nDROP TABLE t;\n"
GOOSE = "-- +goose Up\nCREATE TABLE t ();\n-- +goose Down\nDROP TABLE t;\n"
NODE = "-- Up Migration\nCREATE TABLE t ();\n-- Down Migration\nDROP TABLE t;\n"
SQITCH = """%syntax-version=1.0.0
%project=churn

# a comment
events 2024-01-01T00:00:00Z Ann <ann@example.org> # first
cases [events] 2024-01-02T00:00:00Z Ann <ann@example.org> # second
@v1 2024-01-03T00:00:00Z Ann <ann@example.org> # tagged
events [events@v1] 2024-01-04T00:00:00Z Ann <ann@example.org> # reworked
"""


def folder(path: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content.encode())
    return path


def read(path: Path, files: Mapping[str, str], layout: str = "") -> MigrationFolder:
    return read_folder(folder(path, files), layout)


def labels(found: MigrationFolder) -> list[str]:
    return [migration.label for migration in found.migrations.values()]


ONE_OF_EACH = {
    "golang-migrate": {"001_t.up.sql": "CREATE TABLE t ()", "001_t.down.sql": "DROP TABLE t"},
    "diesel": {"2024-01-01-000000_t/up.sql": "CREATE TABLE t ()", "2024-01-01-000000_t/down.sql": "DROP TABLE t"},
    "dbmate": {"20240101000000_t.sql": DBMATE},
    "goose": {"00001_t.sql": GOOSE},
    "node-pg-migrate": {"1700000000000_t.sql": NODE},
    "flyway": {"V1__t.sql": "CREATE TABLE t ()", "U1__t.sql": "DROP TABLE t"},
    "supabase": {"20240101000000_t.sql": "CREATE TABLE t ()"},
    "prisma": {"20240101000000_t/migration.sql": "CREATE TABLE t ()", "migration_lock.toml": ""},
    "drizzle": {
        "meta/_journal.json": json.dumps({"entries": [{"idx": 0, "when": 1700000000000, "tag": "0000_t"}]}),
        "0000_t.sql": "CREATE TABLE t ()",
    },
    "sqitch": {
        "sqitch.plan": "%project=x\n\nt 2024-01-01T00:00:00Z Ann <ann@example.org> # t\n",
        "deploy/t.sql": "BEGIN; CREATE TABLE t (); COMMIT;",
        "revert/t.sql": "BEGIN; DROP TABLE t; COMMIT;",
    },
}
WITHOUT_DOWNS = {"supabase", "prisma", "drizzle"}


def test_each_layout_has_its_case() -> None:
    assert set(ONE_OF_EACH) == set(LAYOUTS)


@pytest.mark.parametrize("layout", ONE_OF_EACH)
def test_a_layout_is_recognised_and_can_be_named(tmp_path: Path, layout: str) -> None:
    found = read(tmp_path, ONE_OF_EACH[layout])
    assert found.layout == layout and len(found.versions) == 1
    assert read_folder(tmp_path, layout) == found
    (migration,) = found.migrations.values()
    assert migration.up is not None and migration.up.statements[0].begins("create", "table")
    expected = "it has no down" if layout in WITHOUT_DOWNS else None
    assert migration.down_problem == expected
    assert migration.down is None or [s.begins("drop", "table") for s in migration.down.statements] == [True]


@pytest.mark.parametrize("one", ONE_OF_EACH)
@pytest.mark.parametrize("other", ONE_OF_EACH)
def test_no_layout_s_files_are_taken_for_another_s(tmp_path: Path, one: str, other: str) -> None:
    folder(tmp_path, ONE_OF_EACH[one])
    assert LAYOUTS[other].claims(tmp_path) is (one == other)


def test_an_ambiguous_folder_lists_the_candidates(tmp_path: Path) -> None:
    folder(tmp_path, {"001_a.up.sql": "SELECT 1", "V2__b.sql": "SELECT 1"})
    with pytest.raises(UsageError, match=r"several tools: golang-migrate .*, flyway"):
        read_folder(tmp_path)
    assert labels(read_folder(tmp_path, "flyway")) == ["2"]
    assert labels(read_folder(tmp_path, "golang-migrate")) == ["1"]


def test_an_unknown_layout_and_a_wrong_one_are_told(tmp_path: Path) -> None:
    folder(tmp_path, {"001_a.up.sql": "SELECT 1"})
    with pytest.raises(UsageError, match="no layout of migrations called rails") as raised:
        read_folder(tmp_path, "rails")
    assert "dbmate" in raised.value.next
    with pytest.raises(UsageError, match="holds no migration"):
        read_folder(tmp_path, "prisma")
    with pytest.raises(ToolkitError, match=r"sqitch\.plan"):
        read_folder(tmp_path, "sqitch")


class TestOrder:
    def test_golang_migrate_by_number(self, tmp_path: Path) -> None:
        found = read(tmp_path, {f"{n}_m.up.sql": "SELECT 1" for n in ("9", "010", "1", "20240101000000")})
        assert found.versions == [1, 9, 10, 20240101000000] and labels(found) == ["1", "9", "10", "20240101000000"]
        assert not found.said

    @pytest.mark.parametrize(
        ("layout", "content", "suffix"), [("dbmate", DBMATE, ".sql"), ("supabase", "SELECT 1", ".sql")]
    )
    def test_by_string_where_the_tool_does(self, tmp_path: Path, layout: str, content: str, suffix: str) -> None:
        names = ["9_nine", "10_ten", "1_one", "20240101000000_late"]
        found = read(tmp_path, {f"{name}{suffix}": content for name in names}, layout)
        assert labels(found) == ["10", "1", "20240101000000", "9"] or labels(found) == [
            "1",
            "10",
            "20240101000000",
            "9",
        ]
        assert found.versions == [1, 2, 3, 4] and "does not order these by number" in found.said[-1]

    def test_the_usual_widths_keep_their_numbers(self, tmp_path: Path) -> None:
        found = read(tmp_path, {f"2024010{day}000000_m.sql": DBMATE for day in (2, 1, 3)})
        assert found.versions == [20240101000000, 20240102000000, 20240103000000] and not found.said

    def test_goose_by_number(self, tmp_path: Path) -> None:
        found = read(tmp_path, {f"{n}_m.sql": GOOSE for n in ("10", "9", "0001")} | {"README.sql": "-- notes"})
        assert labels(found) == ["1", "9", "10"] and found.versions == [1, 9, 10] and found.ignored == ("README.sql",)

    def test_diesel_without_dashes(self, tmp_path: Path) -> None:
        names = ["2024-02-01-000000_b", "00000000000000_setup", "2024-01-01-120000_a"]
        found = read(tmp_path, {f"{name}/up.sql": "SELECT 1" for name in names})
        assert labels(found) == ["00000000000000", "20240101120000", "20240201000000"]
        assert found.versions == [0, 20240101120000, 20240201000000]
        assert found.named("2024-01-01-120000") is found.named("20240101120000") is found.migrations[20240101120000]

    def test_flyway_part_by_part(self, tmp_path: Path) -> None:
        names = ["V1.10__d", "V1.9__c", "V2__e", "V1_2__b", "V1__a", "V10__f"]
        found = read(tmp_path, {f"{name}.sql": "SELECT 1" for name in names} | {"R__views.sql": "SELECT 1"})
        assert labels(found) == ["1", "1.2", "1.9", "1.10", "2", "10"]
        assert found.versions == [1, 2, 3, 4, 5, 6] and "gives no numbers" in found.said[-1]
        assert found.repeatable == ("R__views.sql",)
        assert found.named("2") is found.migrations[5], "what people type is the tool's own word first"
        assert found.named("1.10") is found.migrations[4] and found.named("3") is found.migrations[3]

    def test_node_pg_migrate_by_the_moment(self, tmp_path: Path) -> None:
        """17 digits are a date, 13 milliseconds: 2020 comes before 2023, though its number is greater."""
        found = read(tmp_path, {"1700000000000_later.sql": NODE, "20200513070724505_earlier.sql": NODE})
        assert labels(found) == ["20200513070724505_earlier", "1700000000000_later"] and found.versions == [1, 2]
        assert [m.name for m in found.migrations.values()] == ["earlier", "later"]

    def test_prisma_by_the_whole_name(self, tmp_path: Path) -> None:
        names = ["20240101000000_b", "20240101000000_a", "20230101000000_z"]
        found = read(tmp_path, {f"{name}/migration.sql": "SELECT 1" for name in names})
        assert labels(found) == ["20230101000000_z", "20240101000000_a", "20240101000000_b"]
        assert found.versions == [1, 2, 3], "two of one timestamp have no number of their own"

    def test_sqitch_by_the_plan(self, tmp_path: Path) -> None:
        scripts = {f"{kind}/{name}.sql": f"-- {name}\nSELECT 1" for kind in ("deploy", "revert")
                   for name in ("events", "events@v1", "cases")}  # fmt: skip
        found = read(tmp_path, {"sqitch.plan": SQITCH} | scripts)
        assert labels(found) == ["events@v1", "cases", "events"] and found.versions == [1, 2, 3]
        assert [m.down.file for m in found.migrations.values() if m.down] == [
            "revert/events@v1.sql",
            "revert/cases.sql",
            "revert/events.sql",
        ]
        assert "BEGIN … COMMIT" in found.said[0]
        assert all(m.verify is None for m in found.migrations.values())

    @given(st.lists(st.integers(0, 9999), min_size=1, max_size=12, unique=True))
    def test_numbers_are_kept_only_where_they_rise(self, numbers: list[int]) -> None:
        entries = [Entry(str(number), "m", number, None, None) for number in numbers]
        found, said = numbered(entries)
        assert list(found) == sorted(found) and [m.label for m in found.values()] == [str(n) for n in numbers]
        assert (list(found) == numbers) is (numbers == sorted(numbers)) or numbers == list(range(1, len(numbers) + 1))
        assert (said is None) is (numbers == sorted(numbers))


class TestMarkers:
    @pytest.mark.parametrize(
        ("down", "problem"),
        [
            ("", "it has no down"),
            ("-- migrate:down", "its down holds no statement"),
            ("-- migrate:down\n-- DROP TABLE t;\n/* none */ ;", "its down holds no statement"),
            ("-- migrate:down\nDROP TABLE t; COMMIT;", "(COMMIT, line 4)"),
            ("-- migrate:down\n\nDROP TABLE 'x", "begins in line 5"),
        ],
    )
    def test_an_empty_down_is_none(self, tmp_path: Path, down: str, problem: str) -> None:
        found = read(tmp_path, {"1_t.sql": f"-- migrate:up\nCREATE TABLE t ();\n{down}"}, "dbmate")
        assert problem in str(found.migrations[1].down_problem)

    def test_dbmate_s_sections_are_the_bytes_between_its_markers(self, tmp_path: Path) -> None:
        up = "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON t (x);\n"
        text = f"-- about\n{up}--  migrate:down\nDROP INDEX i;\n"
        found = read(tmp_path, {"1_t.sql": text}, "dbmate").migrations[1]
        assert found.up and found.down
        assert found.up.content + found.down.content == text[len("-- about\n") :].encode()
        assert (found.up.transactional, found.down.transactional) == (False, True)
        assert (found.up.first_line, found.down.first_line) == (2, 4)
        assert found.down.sha256 == hashlib.sha256(found.down.content).hexdigest()
        assert found.up.sha256 != found.down.sha256
        assert [s.line for s in found.up.alone] == [2]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("CREATE TABLE t ();", "no `-- migrate:up`"),
            ("-- migrate:down\nDROP TABLE t;\n-- migrate:up\nSELECT 1;", "comes before"),
            ("CREATE TABLE s ();\n-- migrate:up\nSELECT 1;", "SQL above"),
        ],
    )
    def test_what_dbmate_refuses(self, tmp_path: Path, text: str, why: str) -> None:
        with pytest.raises(RollbackError, match=why):
            read(tmp_path, {"1_t.sql": text}, "dbmate")

    def test_goose_s_options_and_blocks(self, tmp_path: Path) -> None:
        text = """-- +goose NO TRANSACTION
-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION f() RETURNS int AS $$ BEGIN RETURN 1; END $$ LANGUAGE plpgsql;
-- +goose StatementEnd
-- +goose Down
DROP FUNCTION f();
"""
        found = read(tmp_path, {"1_t.sql": text}).migrations[1]
        assert found.up and found.down and not found.up.transactional and not found.down.transactional
        assert len(found.up.statements) == 1 and found.down_problem is None

    def test_goose_s_substitution_is_refused(self, tmp_path: Path) -> None:
        text = "-- +goose Up\nSELECT 1;\n-- +goose Down\n-- +goose ENVSUB ON\nDROP TABLE ${T};\n"
        found = read(tmp_path, {"1_t.sql": text}).migrations[1]
        assert "environment variables" in str(found.down_problem) and found.up and found.up.problem is None

    @pytest.mark.parametrize(
        "text",
        [
            "-- +goose Down\nDROP TABLE t;",
            "-- +goose Up\nSELECT 1;\n-- +goose Up\nSELECT 2;",
            "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;",
            "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;\n-- +goose Down\nSELECT 2;",
            "-- +goose Up\nSELECT 1;\n-- +goose StatementEnd\n",
        ],
    )
    def test_what_goose_refuses(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(RollbackError, match=r"1_t\.sql is malformed"):
            read(tmp_path, {"1_t.sql": text}, "goose")

    def test_node_pg_migrate_takes_either_section_first(self, tmp_path: Path) -> None:
        text = "---- down migration\nDROP TABLE t;\n\n  -- UP   Migration\nCREATE TABLE t ();\n"
        found = read(tmp_path, {"1_t.sql": text}).migrations[1]
        assert found.up and found.down
        assert found.up.content == b"  -- UP   Migration\nCREATE TABLE t ();\n"[2:]
        assert [s.tokens[0].text for s in found.down.statements] == ["drop"]

    def test_node_pg_migrate_without_markers_is_all_up(self, tmp_path: Path) -> None:
        found = read(tmp_path, {"1_t.sql": NODE, "2_u.sql": "SELECT 1;"})
        assert found.migrations[2].up and found.migrations[2].up.content == b"SELECT 1;"
        assert found.migrations[2].down_problem == "it has no down"


class TestOptions:
    def test_diesel_s_metadata(self, tmp_path: Path) -> None:
        files = {
            "1_a/up.sql": "SELECT 1",
            "1_a/down.sql": "SELECT 2",
            "1_a/metadata.toml": "run_in_transaction = false",
        }
        down = read(tmp_path, files).migrations[1].down
        assert down == Script("1_a/down.sql", b"SELECT 2", transactional=False)
        folder(tmp_path, {"1_a/metadata.toml": "run in"})
        with pytest.raises(RollbackError, match="no TOML"):
            read_folder(tmp_path)

    def test_flyway_s_configuration_and_placeholders(self, tmp_path: Path) -> None:
        files = {
            "V1__a_b.sql": "SELECT 1",
            "U1__a_b.sql": "DROP TABLE ${schema}.t",
            "V2__c.sql": "SELECT 1",
            "sub/U2__c.sql": "DROP INDEX CONCURRENTLY i",
            "sub/U2__c.sql.conf": "executeInTransaction=false\n",
        }
        found = read(tmp_path, files).migrations
        assert found[1].name == "a b" and "placeholder (${schema})" in str(found[1].down_problem)
        assert found[2].down and found[2].down.file == "sub/U2__c.sql" and not found[2].down.transactional
        assert found[2].down_problem is None and len(found[2].down.alone) == 1

    def test_an_undo_of_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RollbackError, match="undoes a version that has no file"):
            read(tmp_path, {"V1__a.sql": "SELECT 1", "U2__b.sql": "SELECT 1"})


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ("dbmate", {"1_a.sql": DBMATE, "1_b.sql": DBMATE}),
        ("goose", {"1_a.sql": GOOSE, "01_b.sql": GOOSE}),
        ("flyway", {"V1__a.sql": "SELECT 1", "V1.0__b.sql": "SELECT 1"}),
        ("supabase", {"20240101000000_a.sql": "SELECT 1", "20240101000000_b.sql": "SELECT 1"}),
        ("diesel", {"2024-01-01-000000_a/up.sql": "SELECT 1", "20240101000000_b/up.sql": "SELECT 1"}),
    ],
)
def test_two_of_one_version_are_refused(tmp_path: Path, layout: str, files: Mapping[str, str]) -> None:
    with pytest.raises(RollbackError, match="has two files"):
        read(tmp_path, files, layout)


class TestSqitchScripts:
    @pytest.mark.parametrize(
        "script",
        [
            "-- Revert x:t from pg\n\nBEGIN;\n\nDROP TABLE t;\n\nCOMMIT;\n",
            "begin transaction; DROP TABLE t; commit work",
            "START TRANSACTION;DROP TABLE t;END;",
            "/* BEGIN; */ BEGIN; DROP TABLE t; -- COMMIT;\nCOMMIT; -- done",
        ],
    )
    def test_the_outermost_pair_is_taken_off(self, script: str) -> None:
        bare = Script("revert/t.sql", without_outer_transaction(script.encode()))
        assert [[token.text for token in s.tokens] for s in bare.statements] == [["drop", "table", "t"]]
        assert len(bare.content) == len(script.encode()), "what is left stays where it was"

    @pytest.mark.parametrize(
        "script",
        [
            "DROP TABLE t;",
            "BEGIN; DROP TABLE t;",
            "BEGIN; DROP TABLE t; COMMIT; DROP TABLE u;",
            "BEGIN; DROP TABLE t; COMMIT; BEGIN; DROP TABLE u; COMMIT;",
            "BEGIN; DROP TABLE t; ROLLBACK;",
            "BEGIN ISOLATION LEVEL SERIALIZABLE; DROP TABLE t; COMMIT;",
            "-- BEGIN;\nBEGIN\n; DROP TABLE t; COMMIT;",
            "BEGIN; DROP TABLE 't",
        ],
    )
    def test_anything_else_stays_as_it_is(self, script: str) -> None:
        assert without_outer_transaction(script.encode()) == script.encode()

    def test_a_verify_script_is_read_without_its_rollback(self, tmp_path: Path) -> None:
        files = dict(ONE_OF_EACH["sqitch"]) | {"verify/t.sql": "BEGIN;\nSELECT a FROM t WHERE false;\nROLLBACK;\n"}
        verify = read(tmp_path, files).migrations[1].verify
        assert verify is not None and verify.file == "verify/t.sql"
        assert [statement.tokens[0].text for statement in verify.statements] == ["select"]
        assert without_outer_transaction(b"BEGIN; SELECT 1; COMMIT;", ENDS["verify"]) == b"BEGIN; SELECT 1; COMMIT;"

    def test_what_remains_of_transaction_control_is_a_problem(self, tmp_path: Path) -> None:
        files = dict(ONE_OF_EACH["sqitch"]) | {"revert/t.sql": "BEGIN; DROP TABLE t; COMMIT; DROP TABLE u;"}
        assert "ends the transaction" in str(read(tmp_path, files).migrations[1].down_problem)

    def test_psql_s_own_commands_are_a_problem(self, tmp_path: Path) -> None:
        files = dict(ONE_OF_EACH["sqitch"]) | {"revert/t.sql": "\\set x 1\nBEGIN;\nDROP TABLE t;\nCOMMIT;"}
        assert "psql's own commands (line 1)" in str(read(tmp_path, files).migrations[1].down_problem)

    @pytest.mark.parametrize(
        ("plan", "why"),
        [
            ("what is this\n", "neither a change nor a tag"),
            (SQITCH.replace("@v1 2024", "# 2024"), "comes twice without a tag"),
            ("gone 2024-01-01T00:00:00Z Ann <a@b.c> # x\n", "has no script in deploy/"),
        ],
    )
    def test_a_malformed_plan_is_told(self, tmp_path: Path, plan: str, why: str) -> None:
        with pytest.raises(RollbackError, match=why):
            read(tmp_path, {"sqitch.plan": plan, "deploy/events.sql": "", "deploy/cases.sql": ""})


def test_a_script_is_read_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_text("SELECT 1")
    assert read_script(tmp_path / "x.sql") == Script("x.sql", b"SELECT 1")
    with pytest.raises(RollbackError, match=r"y\.sql cannot be read"):
        read_script(tmp_path / "y.sql")


@pytest.mark.parametrize("layout", ONE_OF_EACH)
def test_what_is_not_utf_8_is_refused_everywhere(tmp_path: Path, layout: str) -> None:
    folder(tmp_path, ONE_OF_EACH[layout])
    for file in tmp_path.rglob("*.sql"):
        file.write_bytes(file.read_bytes() + b"\n-- caf\xe9\n")
    with pytest.raises(RollbackError, match="not UTF-8"):
        read_folder(tmp_path, layout)

"""What may be kept of queries and shown of findings, how a statement log is read, and when a column is narrower."""

import json
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

from toolkit.drill.database import deployment_role
from toolkit.drill.service import statement_log
from toolkit.drill.service.statement_log import StatementLog, as_sent
from toolkit.errors import UsageError
from toolkit.playbook import Database as Names
from toolkit.playbook import load_playbook
from toolkit.rollback.pair import role_of
from toolkit.rollback.pair.catalogs import compared, narrows
from toolkit.rollback.pair.findings import named
from toolkit.rollback.pair.queries import bare_text
from toolkit.rollback.pair.statement_log import read_log
from toolkit.verify.fingerprints import SchemaObject, SchemaSignature


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("SELECT a FROM t WHERE b = $1 LIMIT $2", "SELECT a FROM t WHERE b = $1 LIMIT $2"),
        ("SELECT a -- for jane\n FROM t /* id=77 */ ORDER BY 1;", "SELECT a FROM t ORDER BY 1"),
        ("INSERT INTO t VALUES ($1::numeric(12, 2), $2)", "INSERT INTO t VALUES ($1::numeric(12, 2), $2)"),
        (
            'WITH x AS (DELETE FROM "T" RETURNING *) SELECT * FROM x',
            'WITH x AS (DELETE FROM "T" RETURNING *) SELECT * FROM x',
        ),
        ("SELECT * FROM t WHERE email = 'jane@example.com'", None),
        ("SELECT * FROM t WHERE phone = 5551234", None),
        ("SELECT * FROM t WHERE ratio = 1.5", None),
        ("SELECT $tag$ secret $tag$", None),
        ("ALTER ROLE app PASSWORD 'hunter2'", None),
        ("ALTER ROLE app NOLOGIN", None),
        ("SET app.user = $1", None),
        ("COPY t TO STDOUT", None),
        ("SELECT 1; SELECT 2", None),
        ("COMMIT", None),
        ("SELECT 'torn", None),
        ("", None),
    ],
)
def test_only_statements_on_data_without_constants_are_kept(text: str, kept: str | None) -> None:
    assert bare_text(text) == kept


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("insert into public.events (id) values ($1)", "INSERT INTO public.events"),
        ("UPDATE ONLY t SET a = $1", "UPDATE t"),
        ("SELECT a FROM t JOIN u USING (a) FOR UPDATE", "SELECT FROM t"),
        ("INSERT INTO t SELECT * FROM u ON CONFLICT DO UPDATE SET a = $1", "INSERT INTO t"),
        ("WITH x AS (SELECT id FROM t FOR UPDATE) UPDATE j SET a = $1 FROM x", "UPDATE j"),
        ("WITH x AS (UPDATE a SET b = $1), y AS (INSERT INTO c VALUES ($2)) SELECT $3 FROM x", "UPDATE a"),
        ("SELECT set_config($1, $2, true)", "SELECT without a table"),
        ("DROP TABLE t", "a statement"),
    ],
)
def test_a_statement_is_named_without_its_values(text: str, name: str) -> None:
    assert named(text) == name


@pytest.mark.parametrize(
    ("was", "now", "narrower"),
    [
        ("integer", "smallint", True),
        ("smallint", "integer", False),
        ("bigint[]", "integer[]", True),
        ("numeric(12,2)", "numeric(6,2)", True),
        ("numeric(12,2)", "numeric(12,4)", True),
        ("numeric(12,2)", "numeric(14,4)", False),
        ("numeric", "numeric(10,2)", True),
        ("numeric(10,2)", "numeric", False),
        ("text", "character varying(20)", True),
        ("character varying(20)", "text", False),
        ("character varying(20)", "character varying(40)", False),
        ("text", "uuid", False),
    ],
)
def test_narrower_holds_less(was: str, now: str, narrower: bool) -> None:
    assert narrows(was, now) is narrower


def signature(*columns: tuple[str, str], more: tuple[SchemaObject, ...] = ()) -> SchemaSignature:
    table = SchemaObject("table", "public.t", "public.t", "")
    made = (SchemaObject("column", f"public.t.{name}", "public.t", definition) for name, definition in columns)
    return SchemaSignature(18, (table, *made, *more))


ID, ENUM = ("id", "integer NOT NULL"), SchemaObject("enum", "public.mood", None, "'sad', 'ok', 'glad'")
POORER = SchemaObject("enum", "public.mood", None, "'sad', 'ok'")
FILLS = SchemaObject("trigger", "fill on public.t", "public.t", "CREATE TRIGGER fill BEFORE INSERT ON public.t")
CHECKS = SchemaObject("constraint", "few on public.t", "public.t", "CHECK ((id < 9))")
INSERT, OTHER = "INSERT INTO t (id, a) VALUES ($1, $2)", "INSERT INTO u (id) VALUES ($1)"


@pytest.mark.parametrize(
    ("before", "after", "text", "verdict", "says"),
    [
        (signature(ID, ("a", "text")), signature(ID), INSERT, "incompatible", "is gone"),
        (signature(ID, ("a", "text")), signature(ID), OTHER, None, ""),
        (signature(ID), signature(ID, ("b", "text NOT NULL")), INSERT, "incompatible", "must be given"),
        (signature(ID), signature(ID, ("b", "text NOT NULL DEFAULT 'x'")), INSERT, None, ""),
        (signature(ID), signature(ID, ("b", "text NOT NULL")), "SELECT id FROM t", None, ""),
        (signature(ID), signature(ID, ("b", "text NOT NULL"), more=(FILLS,)), INSERT, "unknown", "must be given"),
        (signature(ID), signature(ID, more=(CHECKS,)), "UPDATE t SET id = $1", "unknown", "is new"),
        (signature(("a", "integer")), signature(("a", "smallint")), "UPDATE t SET a = $1", "incompatible", "narrower"),
        (signature(("a", "integer")), signature(("a", "smallint")), "SELECT a FROM t", "unknown", "narrower"),
        (signature(("a", "integer")), signature(("a", "bigint")), "UPDATE t SET a = $1", None, ""),
        (
            signature(("a", "public.mood"), more=(ENUM,)),
            signature(("a", "public.mood"), more=(POORER,)),
            INSERT,
            "incompatible",
            "lost the label 'glad'",
        ),
    ],
)
def test_of_two_catalogs_only_what_the_queries_name_is_told(
    before: SchemaSignature, after: SchemaSignature, text: str, verdict: str | None, says: str
) -> None:
    found = compared(before, after, [text])
    assert [each.verdict for each in found] == ([verdict] if verdict else [])
    assert all(says in each.says for each in found)


def test_catalogs_of_two_major_versions_are_not_compared() -> None:
    found = compared(signature(ID), SchemaSignature(17, ()), [INSERT])
    assert [each.verdict for each in found] == ["unknown"]


class TestStatementLog:
    def test_what_is_written_is_read_again_by_transaction(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(statement_log, "OF_A_KIND_EVERY_S", 0.0)
        folder = tmp_path / "statements"
        log = StatementLog(folder, "dpl_8", "app_b8")
        sent = as_sent(b"SELECT %(a)s, %(b)s::text, %(a)s LIKE 'x%%'", {"a": 7, "b": None})
        log.write([sent, as_sent("UPDATE t SET j = %(j)s", {"j": Jsonb({"k": ["ü"]})})])
        log.write([as_sent("SELECT 1", None)])
        read = read_log(folder, "dpl_8")
        assert [len(each.statements) for each in read] == [2, 1]
        first, second = read[0].statements
        assert (first.sql, first.params) == ("SELECT $1, $2::text, $1 LIKE 'x%'", ("7", None))
        assert first.types == ("smallint", "unknown")
        assert (json.loads(second.params[0] or ""), second.types) == ({"k": ["ü"]}, ("jsonb",))
        assert read[0].role == "app_b8" and read_log(folder, "dpl_9") == []
        assert "ü" not in repr(read)
        assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700

    def test_it_is_sampled_and_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        log = StatementLog(tmp_path, "dpl_8", "app_b8")
        for _ in range(5):
            log.write([as_sent("SELECT 1", None)])
        assert len(read_log(tmp_path, "dpl_8")) == 1
        monkeypatch.setattr(statement_log, "OF_A_KIND_EVERY_S", 0.0)
        monkeypatch.setattr(statement_log, "MOST_BYTES", 4096)
        for _ in range(200):
            log.write([as_sent("SELECT %(a)s", {"a": "x" * 100})])
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 3 * 4096
        assert len(read_log(tmp_path, "dpl_8")) <= 20

    def test_torn_lines_are_left_out_and_a_missing_log_is_empty(self, tmp_path: Path) -> None:
        file = tmp_path / "log.jsonl"
        line = json.dumps({"deployment": "d", "role": "r", "transaction": "1", "sql": "SELECT 1"})
        file.write_text(f'{line}\n[]\n{{"deployment": "d"}}\n{line[:-9]}')
        file.chmod(0o600)
        assert len(read_log(file, "d")) == 1
        assert read_log(tmp_path / "none", "d") == []

    def test_one_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "log.jsonl"
        file.write_text("")
        file.chmod(0o644)
        with pytest.raises(UsageError, match="personal data"):
            read_log(file, "d")


def test_the_playbook_says_as_whom_a_deployment_asks() -> None:
    names = load_playbook().database
    assert role_of(names, "dpl_x", 8) == deployment_role(8, "dpl_x") == "app_b8_dpl_x"
    assert role_of(names, "dpl_x", None) is None
    assert role_of(names.model_copy(update={"deployment_role": "app_{deployment}"}), "dpl_x", None) == "app_dpl_x"
    assert role_of(names.model_copy(update={"deployment_role": None}), "dpl_x", 8) is None
    with pytest.raises(UsageError, match=r"only {schema_version} and {deployment}"):
        role_of(names.model_copy(update={"deployment_role": "{role}"}), "dpl_x", 8)
    assert isinstance(names, Names)

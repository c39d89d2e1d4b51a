"""How far a migration came, from schemas alone: what is equal to which, and what nobody can tell. No server."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.rollback.groundwork import schema_of
from toolkit.rollback.half_applied import Found, Prefix, Verdict, find
from toolkit.rollback.migrations import Migration, MigrationFolder
from toolkit.rollback.recording import recording
from toolkit.rollback.sql_lexer import statements
from toolkit.rollback.state_tables import Found as StateTable
from toolkit.verify.fingerprints import SchemaObject, SchemaSignature


def schema(**columns: str) -> SchemaSignature:
    """Columns of a table that is always there, by their definitions; `idx…` are indexes."""
    found = [SchemaObject("table", "public.t", "public.t", "")]
    for name, definition in columns.items():
        kind, own = ("index", f"public.{name}") if name.startswith("idx") else ("column", f"public.t.{name}")
        found.append(SchemaObject(kind, own, "public.t", definition))
    return SchemaSignature(18, tuple(found))


def prefixes(*steps: tuple[str, Mapping[str, str]]) -> list[Prefix]:
    return [Prefix(statements(text)[0], text, schema(**after)) for text, after in steps]


A, B, IDX = "ALTER TABLE t ADD COLUMN a int", "ALTER TABLE t ADD COLUMN b int", "CREATE INDEX CONCURRENTLY idx ON t (b)"
UPDATE = "UPDATE t SET a = 1"
VALID, INVALID = "CREATE INDEX idx ON public.t USING btree (b)", "CREATE INDEX idx ON public.t USING btree (b); invalid"
STEPS = prefixes(
    (A, {"a": "integer"}),
    (UPDATE, {"a": "integer"}),
    (B, {"a": "integer", "b": "integer"}),
    (IDX, {"a": "integer", "b": "integer", "idx": VALID}),
)


def found(live: SchemaSignature, *, atomic: bool = False) -> Found:
    return find(schema(), STEPS, live, atomic=atomic)


@pytest.mark.parametrize(
    ("live", "verdict", "finish", "undo"),
    [
        (schema(), Verdict.NOT, (A, UPDATE, B, IDX), ()),
        (
            schema(a="integer", b="integer"),
            Verdict.PARTLY,
            (IDX,),
            (
                "ALTER TABLE IF EXISTS public.t DROP COLUMN IF EXISTS b",
                "ALTER TABLE IF EXISTS public.t DROP COLUMN IF EXISTS a",
            ),
        ),
        (
            schema(a="integer", b="integer", idx=INVALID),
            Verdict.PARTLY,
            ("DROP INDEX IF EXISTS public.idx", IDX),
            (
                "DROP INDEX IF EXISTS public.idx",
                "ALTER TABLE IF EXISTS public.t DROP COLUMN IF EXISTS b",
                "ALTER TABLE IF EXISTS public.t DROP COLUMN IF EXISTS a",
            ),
        ),
        (
            schema(a="integer", b="integer", idx=VALID),
            Verdict.FULLY,
            (),
            (
                "DROP INDEX IF EXISTS public.idx",
                "ALTER TABLE IF EXISTS public.t DROP COLUMN IF EXISTS b",
                "ALTER TABLE IF EXISTS public.t DROP COLUMN IF EXISTS a",
            ),
        ),
    ],
)
def test_where_it_stopped(
    live: SchemaSignature, verdict: Verdict, finish: tuple[str, ...], undo: tuple[str, ...]
) -> None:
    told = found(live)
    assert (told.verdict, told.finish, told.undo) == (verdict, finish, undo)


def test_an_update_at_the_edge_is_unknown_and_one_before_it_ran() -> None:
    at_the_edge = found(schema(a="integer"))
    assert at_the_edge.unknown == ("whether the UPDATE T in line 1 ran: it changes rows, not the schema",)
    assert [each for each in at_the_edge.finish if not each.startswith("--")] == [B, IDX]
    beyond = found(schema(a="integer", b="integer"))
    assert beyond.unknown == ("the UPDATE T in line 1 ran: which rows it changed is not told",)
    assert at_the_edge.left_rows == beyond.left_rows == (), "the column goes, and what was written into it"


def test_rows_of_before_that_stay_changed_are_told() -> None:
    steps = prefixes((A, {"a": "integer"}), ("DELETE FROM t", {"a": "integer"}), (B, {"a": "integer", "b": "integer"}))
    edge = find(schema(), steps, schema(a="integer"), atomic=False)
    assert edge.left_rows == ("the DELETE FROM in line 1 may have deleted from public.t",)
    beyond = find(schema(), steps, schema(a="integer", b="integer"), atomic=False)
    assert beyond.left_rows == ("the DELETE FROM in line 1 deleted from public.t",)
    assert find(schema(), steps, schema(), atomic=True).left_rows == ()


def test_a_file_in_one_transaction_leaves_no_doubt() -> None:
    steps = prefixes((UPDATE, {}), (A, {"a": "integer"}), ("INSERT INTO t VALUES (1)", {"a": "integer"}))
    assert find(schema(), steps, schema(), atomic=True).unknown == ()
    whole = find(schema(), steps, schema(a="integer"), atomic=True)
    assert (whole.verdict, whole.finish) == (Verdict.FULLY, ())
    assert "whether the UPDATE T" in find(schema(), steps, schema(), atomic=False).unknown[0]


def test_only_rows_means_unknown() -> None:
    told = find(schema(), prefixes((UPDATE, {})), schema(), atomic=False)
    assert (told.verdict, told.finish, told.undo) == (Verdict.UNKNOWN, (), ())


def test_what_it_never_touches_is_drift() -> None:
    told = found(schema(a="integer", b="integer", elsewhere="text", idx2="CREATE INDEX idx2 …; invalid"))
    assert told.verdict is Verdict.PARTLY and told.finish == (IDX,)
    assert told.drift == ("column public.t.elsewhere", "index public.idx2")


def test_a_definition_that_is_neither_is_told_as_it_is() -> None:
    told = found(schema(a="bigint"))
    assert "column public.t.a (bigint)" in told.between and told.verdict is not Verdict.FULLY


@given(st.sets(st.sampled_from(["a", "b", "idx"])))
def test_every_object_is_told_once_and_never_both_ways(there: set[str]) -> None:
    whole = {"a": "integer", "b": "integer", "idx": VALID}
    told = found(schema(**{name: whole[name] for name in sorted(there)}))
    assert len(told.present) == len(there) and len(told.absent) == 3 - len(there) and not told.between
    assert (told.verdict is Verdict.FULLY) is (len(there) == 3)
    assert (told.verdict is Verdict.NOT) is (not there)
    kept = [each for each in told.finish if each in (A, B, IDX)]
    assert kept == [text for name, text in (("a", A), ("b", B), ("idx", IDX)) if name not in there]


@pytest.mark.parametrize(
    ("kind", "name", "table", "expected"),
    [
        ("schema", "queue", None, "queue"),
        ("table", "queue.job", "queue.job", "queue"),
        ("index", "queue.job_idx", "queue.job", "queue"),
        ("constraint", "positive on public.amount", None, "public"),
        ("function", "public.f(a public.mood)", None, "public"),
        ("owner", "schema queue", None, "queue"),
        ("owner", "table queue.job", None, "queue"),
        ("grant", "SELECT on table queue.job to app", None, "queue"),
        ("grant", "USAGE on schema queue to app", None, "queue"),
        ("default privilege", "SELECT on r in queue by owner to app", None, "queue"),
        ("table", '"Odd.one".job', '"Odd.one".job', "Odd.one"),
    ],
)
def test_the_schema_of_an_object(kind: str, name: str, table: str | None, expected: str) -> None:
    assert schema_of(SchemaObject(kind, name, table, "")) == expected


@pytest.mark.parametrize(
    ("tool", "finished", "undone"),
    [
        ("golang-migrate", "migrate force 2", "migrate force 1"),
        ("dbmate", "put 2 into", "take 2 out"),
        ("Prisma", "--applied 2", "--rolled-back 2"),
        ("the Supabase CLI", "repair 2 --status applied", "repair 2 --status reverted"),
        ("Flyway", "mark its line", "flyway repair"),
        ("Liquibase", "with 2", "without 2"),
    ],
)
def test_each_tools_account_is_set_in_its_own_way(tool: str, finished: str, undone: str, tmp_path: object) -> None:
    migrations = {number: Migration(number, "x", None, None) for number in (1, 2)}
    folder = MigrationFolder(tmp_path, migrations)  # type: ignore[arg-type]
    table = StateTable(tool, "public", "accounts", None)
    assert finished in recording(table, folder, 2).said
    assert undone in recording(table, folder, 1, undone=migrations[2]).said


def test_before_the_first_golang_migrate_has_no_row(tmp_path: object) -> None:
    first = Migration(1, "x", None, None)
    folder = MigrationFolder(tmp_path, {1: first})  # type: ignore[arg-type]
    back = recording(StateTable("golang-migrate", "public", "m", None), folder, None, undone=first)
    assert back.statements == ('DELETE FROM "public"."m"',)
    assert "force -1" in back.said

"""Comments, strings and function bodies must not fool whoever reads a migration, and what they hide must be said."""

import pytest

from toolkit.rollback.down_sql import hidden_code, losses, not_in_transaction, transaction_control
from toolkit.rollback.sql_lexer import Kind, SqlError, statements, tokens


def texts(sql: str) -> list[list[str]]:
    return [[token.text for token in statement.tokens] for statement in statements(sql)]


def words(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" ;; \n ; ", []),
        ("-- only a comment; DROP TABLE x\n/* and ; another */", []),
        ("SELECT 1; select 2", [["select", "1"], ["select", "2"]]),
        ("/* /* nested ; */ still ; */ a; b", [["a"], ["b"]]),
        ("a -- x\r\n; b", [["a"], ["b"]]),
        ("'it''s; one'; b", [["it''s; one"], ["b"]]),
        (r"'a\'; b", [["a\\"], ["b"]]),
        (r"E'a\'; b'; c", [[r"a\'; b"], ["c"]]),
        ("'a'\n  'b;' ; c", [["ab;"], ["c"]]),
        ("E'a' -- note\n '\\';' ; c", [["a\\';"], ["c"]]),
        ("'a' 'b'", [["a", "b"]]),
        ('"we;ird ""name""" ; b', [['we;ird "name"'], ["b"]]),
        ("$$ ; ' \" $$ ; b", [[" ; ' \" "], ["b"]]),
        ("$fn$ $$ ; $$ ; $f$ $fn$ ; b", [[" $$ ; $$ ; $f$ "], ["b"]]),
        ("a$b$c ; d", [["a$b$c"], ["d"]]),
        ("$1 ; x", [["$1"], ["x"]]),
        ("a<--b\n; c", [["a", "<"], ["c"]]),
        ("a*/*;*/b", [["a", "*", "b"]]),
        ("U&'d;' U&\"t;\" x'0f' N'n'", [["d;", "t;", "0f", "n"]]),
        ("1.5e-3 .5 0x1F 1_000", [["1.5e-3", ".5", "0x1F", "1_000"]]),
        (
            "CREATE RULE r AS ON DELETE TO t DO (DELETE FROM a; DELETE FROM b); c",
            [words("create rule r as on delete to t do ( delete from a ; delete from b )"), ["c"]],
        ),
        ("ÄRGER ärger", [["Ärger", "ärger"]]),
    ],
)
def test_statements_are_cut_where_the_server_cuts_them(sql: str, expected: list[list[str]]) -> None:
    assert texts(sql) == expected


def test_a_function_body_of_the_standard_is_one_statement() -> None:
    body = "BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END"
    made = f"CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql {body}; DROP TABLE t"
    assert [statement.tokens[0].text for statement in statements(made)] == ["create", "drop"]


def test_begin_alone_opens_no_body() -> None:
    assert [s.tokens[0].text for s in statements("BEGIN; SELECT 1; END; SELECT 2")] == [
        "begin",
        "select",
        "end",
        "select",
    ]


def test_kinds_and_lines_are_told() -> None:
    found = list(tokens("select\n -- x\n \"Select\", 'a\nb' , 1"))
    assert [(t.kind, t.text, t.line) for t in found] == [
        (Kind.WORD, "select", 1),
        (Kind.QUOTED, "Select", 3),
        (Kind.SYMBOL, ",", 3),
        (Kind.STRING, "a\nb", 3),
        (Kind.SYMBOL, ",", 4),
        (Kind.NUMBER, "1", 4),
    ]
    assert found[0].is_word("select") and not found[1].is_word("Select", "select")


@pytest.mark.parametrize(
    ("sql", "what", "line"),
    [
        ("a;\n'no end", "A string", 2),
        (r"E'no end\'", "A string", 1),
        ("'odd '' one", "A string", 1),
        ('x "no end', "A quoted identifier", 1),
        ("$q$ no end $$", "A string in $q$", 1),
        ("/* /* */ no end", "A comment", 1),
        ("\n\nf(", "A bracket", 3),
        ("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", "A function's body", 1),
    ],
)
def test_what_has_no_end_is_said_with_its_line(sql: str, what: str, line: int) -> None:
    with pytest.raises(SqlError) as raised:
        statements(sql)
    assert (raised.value.what, raised.value.line) == (what, line)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("BEGIN; DROP TABLE a; COMMIT", ["begin", "commit"]),
        ("START TRANSACTION", ["start"]),
        ("begin work; end", ["begin", "end"]),
        ("ABORT; ROLLBACK; ROLLBACK WORK; PREPARE TRANSACTION 'x'", ["abort", "rollback", "rollback", "prepare"]),
        ("COMMIT PREPARED 'x'", ["commit"]),
        ("SAVEPOINT a; ROLLBACK TO a; ROLLBACK WORK TO SAVEPOINT a; RELEASE a", []),
        ("-- COMMIT\nDROP TABLE a /* COMMIT; */; SELECT 'COMMIT;'", []),
        ("DO $$ BEGIN PERFORM 1; END $$", []),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END", []),
        ('ALTER TABLE t DROP COLUMN "commit"', []),
        ("PREPARE transactions AS SELECT 1", []),
    ],
)
def test_transaction_control_is_found_and_nothing_else_is(sql: str, found: list[str]) -> None:
    assert [statement.tokens[0].text for statement in transaction_control(statements(sql))] == found


@pytest.mark.parametrize(
    ("sql", "alone"),
    [
        ("DROP INDEX CONCURRENTLY IF EXISTS i", True),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", True),
        ("REINDEX (VERBOSE) TABLE CONCURRENTLY t", True),
        ("VACUUM t", True),
        ("DROP DATABASE x", True),
        ("ALTER SYSTEM SET a = 1", True),
        ("CREATE INDEX i ON t (concurrently_done)", False),
        ("DROP INDEX i", False),
        ("ALTER TYPE t ADD VALUE 'x'", False),
        ("COMMENT ON INDEX i IS 'CREATE INDEX CONCURRENTLY'", False),
    ],
)
def test_what_cannot_run_in_a_transaction_is_known(sql: str, alone: bool) -> None:
    assert bool(not_in_transaction(statements(sql))) is alone


def told(sql: str) -> list[str]:
    return [f"{loss.verb} {loss.what}" for loss in losses(statements(sql))]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("DROP TABLE IF EXISTS a, public.b CASCADE",
         ["drops the table a, and what depends on it", "drops the table public.b, and what depends on it"]),
        ('DROP TABLE "A.B" RESTRICT', ["drops the table A.B"]),
        ("DROP SCHEMA s CASCADE", ["drops the schema s, and what depends on it"]),
        ("DROP TYPE mood; DROP DOMAIN d; DROP SEQUENCE s; DROP EXTENSION hstore",
         ["drops the type mood", "drops the type d", "drops the sequence s", "drops the extension hstore"]),
        ("ALTER TABLE t DROP COLUMN a, DROP b CASCADE, DROP COLUMN IF EXISTS \"C\"",
         ["drops the column t.a", "drops the column t.b, and what depends on it", "drops the column t.C"]),
        ("ALTER TABLE IF EXISTS ONLY s.t DROP CONSTRAINT x, DROP CONSTRAINT IF EXISTS y, ALTER a DROP DEFAULT, "
         "ALTER b DROP NOT NULL, DROP c", ["drops the column s.t.c"]),
        ("ALTER TABLE t ALTER a TYPE numeric(4, 2) USING (f(a, 1)), ALTER COLUMN b SET DATA TYPE int",
         ["converts values of t.a", "converts values of t.b"]),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (x IN ('drop', 'b')), RENAME a TO drop_b", []),
        ("ALTER TYPE point3 DROP ATTRIBUTE z", ["drops values of point3.z"]),
        ("TRUNCATE TABLE ONLY a, b CASCADE", ["empties rows of a", "empties rows of b"]),
        ("DELETE FROM ONLY s.a * WHERE x = 1; UPDATE b SET c = 2", ["deletes rows of s.a", "overwrites rows of b"]),
        ("DROP INDEX i; DROP VIEW v; DROP TRIGGER t ON a; DROP FUNCTION f(); DROP POLICY p ON a", []),
        ("-- DROP TABLE a\nSELECT 'DROP TABLE b'; /* DROP TABLE c */ COMMENT ON TABLE d IS $$DROP TABLE e$$", []),
        ("COMMENT ON COLUMN t.a IS 'x'; CREATE TABLE drop_me (a int)", []),
        ("DROP", []),
        ("ALTER TABLE", []),
    ],
)  # fmt: skip
def test_what_a_down_destroys_is_told(sql: str, expected: list[str]) -> None:
    assert told(sql) == expected


def test_code_whose_effect_the_text_does_not_tell_is_pointed_out() -> None:
    sql = "DO $$ BEGIN EXECUTE 'DROP TABLE a'; END $$; CALL p(); SELECT f(); DROP OWNED BY x; DROP TABLE b"
    assert [s.tokens[0].text for s in hidden_code(statements(sql))] == ["do", "call", "select", "drop"]
    assert told(sql) == ["drops the table b"]

"""What a migration's text says it touches, and that what cannot be read is said."""

import pytest

from toolkit.rollback.damage import Damage
from toolkit.rollback.merge.damaging_sql import touched_by
from toolkit.rollback.sql_lexer import statements


def read(text: str) -> list[Damage]:
    return [each.damage for each in touched_by(statements(text))]


@pytest.mark.parametrize(
    ("text", "damage"),
    [
        ("UPDATE item SET a = 5", Damage("item", ("a",), written=(("a", "5"),))),
        (
            "UPDATE ONLY public.item AS i SET a = 'x', b = NULL WHERE i.c >= 3 AND \"D\" = 'it''s' RETURNING a",
            Damage("public.item", ("a", "b"), "c >= 3 and \"D\" = 'it''s'", written=(("a", "'x'"), ("b", "null"))),
        ),
        ("UPDATE item SET a = a * 2", Damage("item", ("a",), written=(("a", "a * 2"),))),
        ("UPDATE item SET (a, b) = (1, 2)", Damage("item", ("a", "b"))),
        (
            "DELETE FROM item WHERE item.a::text ->> 'x' <> 'y'",
            Damage("item", (), "a :: text ->> 'x' <> 'y'", verb="deleted"),
        ),
        ("DELETE FROM item", Damage("item", verb="deleted")),
        ("INSERT INTO item SELECT * FROM other", Damage("item", verb="inserted")),
        ("ALTER TABLE item ALTER COLUMN a TYPE int USING 0, ADD b int", Damage("item", ("a",))),
    ],
)
def test_what_a_statement_touches(text: str, damage: Damage) -> None:
    assert read(text) == [damage]


def test_truncate_deletes_from_every_table_it_names() -> None:
    assert [each.table for each in read("TRUNCATE TABLE a, public.b CASCADE")] == ["a", "public.b"]


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE item SET a = 5 FROM other WHERE other.id = item.id",
        "UPDATE item SET a = 5 WHERE id IN (SELECT id FROM other)",
        "DELETE FROM item USING other WHERE other.id = item.id",
        "UPDATE item SET a = 5 WHERE b = E'\\n'",
        "UPDATE item SET a = 5 WHERE b = - -1",
    ],
)
def test_a_condition_that_cannot_be_read_is_every_row_and_said(text: str) -> None:
    (found,) = touched_by(statements(text))
    assert found.damage.condition is None
    assert any("which rows" in each for each in found.unread)


def test_a_value_of_another_table_is_not_read_as_one_of_this() -> None:
    text = "UPDATE item i SET a = m.new, b = 'x' FROM (VALUES (1, 2)) AS m (old, new) WHERE i.a = m.old"
    (found,) = touched_by(statements(text))
    assert found.damage == Damage("item", ("a", "b"), written=(("b", "'x'"),))
    assert found.unread[0] == "what it writes into a" and not found.damage.is_told


def test_a_value_that_cannot_be_read_is_said() -> None:
    (found,) = touched_by(statements("UPDATE item SET a = (SELECT max(x) FROM other), b = 1"))
    assert (found.damage.columns, found.damage.written) == (("a", "b"), (("b", "1"),))
    assert found.unread == ("what it writes into a",)


def test_what_holds_no_rows_is_no_damage() -> None:
    assert read("CREATE INDEX i ON item (a); ALTER TABLE item ADD b int; SELECT 1") == []

"""What is proposed as damage, on a real PostgreSQL: from the migration's text, and from who wrote the rows."""

from collections.abc import Iterator

import pytest
from merge_sides import Sides

from toolkit.drill.database import ServiceDatabase
from toolkit.rollback.damage import Proposal
from toolkit.rollback.merge import propose_damage
from toolkit.rollback.sql_lexer import statements

TABLES = """
    CREATE TABLE item (id integer PRIMARY KEY, a text, b integer, created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE calm (id integer PRIMARY KEY, a text);
"""


@pytest.fixture
def sides(churn_database: ServiceDatabase) -> Iterator[Sides]:
    """Sixty rows in either table, each from a transaction of its own, hours apart."""
    both = Sides(churn_database.owner_url, TABLES)
    for number in range(60):
        both.conn.execute(
            "INSERT INTO live.item VALUES (%(n)s, 'v' || %(n)s, %(n)s, now() - %(n)s * interval '1 hour')",
            {"n": number},
        )
        both.conn.execute("INSERT INTO live.calm VALUES (%(n)s, 'v' || %(n)s)", {"n": number})
    yield both
    both.conn.close()


def propose(sides: Sides, text: str = "", not_before: str | None = None) -> tuple[Proposal, ...]:
    with sides.conn.transaction():
        return propose_damage(sides.conn, ["live"], statements(text), not_before=not_before)


def test_rows_that_came_one_by_one_propose_nothing(sides: Sides) -> None:
    assert propose(sides) == ()


def test_one_transaction_over_most_rows_is_proposed_with_its_columns(sides: Sides) -> None:
    xid = sides.run("live", "UPDATE item SET a = 'x'")
    sides.run("live", "UPDATE item SET b = -1 WHERE id = 3")
    (found,) = propose(sides)
    assert (found.damage.table, found.damage.columns, found.damage.xids) == ("live.item", ("a",), (xid,))
    assert found.rows is not None and 50 <= found.rows <= 60
    assert any("hours" in each for each in found.evidence)
    assert not any("'x'" in each for each in found.evidence)
    assert not found.certain, "it may be lawful work on many rows"


def test_a_migrations_text_names_the_rows_and_the_rows_name_the_transaction(sides: Sides) -> None:
    text = "UPDATE item SET a = 'x' WHERE b < 30; ALTER TABLE item ADD c int;"
    xid = sides.run("live", text)
    (found,) = propose(sides, text)
    assert found.damage.xids == (xid,)
    assert (found.damage.condition, found.damage.written) == ("b < 30", (("a", "'x'"),))
    assert "the same transaction changed the schema" in found.evidence and found.certain


def test_a_table_that_is_gone_and_deleted_rows_say_so(sides: Sides) -> None:
    gone, deleted = propose(sides, "UPDATE nothing SET a = 1; DELETE FROM item WHERE b < 3;")
    assert "there is no such table now" in gone.evidence
    assert (deleted.damage.verb, deleted.damage.condition, deleted.rows) == ("deleted", "b < 3", None)


def test_a_transaction_from_before_the_backup_is_no_damage(sides: Sides) -> None:
    sides.run("live", "UPDATE item SET a = 'x'")
    later = sides.run("live", "UPDATE calm SET a = 'y' WHERE id = 1")
    assert propose(sides, not_before=later) == ()

"""The merge of a damaged and a restored schema, rule by rule, on a real PostgreSQL."""

from collections.abc import Iterator

import pytest
from merge_sides import SIDES, Sides

from toolkit.drill.database import ServiceDatabase
from toolkit.errors import RollbackError, UsageError
from toolkit.rollback.damage import Damage
from toolkit.rollback.merge import LeftColumn, LeftTable, MergeConfig, merge, prepare_merge

TABLES = """
    CREATE TYPE mood AS ENUM ('calm', 'busy');
    CREATE TABLE company (id integer PRIMARY KEY, name text NOT NULL UNIQUE, mood mood NOT NULL DEFAULT 'calm');
    CREATE TABLE item (
        id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        company integer REFERENCES company ON DELETE CASCADE,
        price numeric NOT NULL CHECK (price >= 0),
        note json,
        double numeric GENERATED ALWAYS AS (price * 2) STORED
    );
"""
BACKED_UP = """
    INSERT INTO company VALUES (1, 'a', 'calm'), (2, 'b', 'busy'), (3, 'c', 'calm');
    INSERT INTO item (company, price, note) VALUES (1, 10, '{}'), (1, 20, '[1]'), (2, 30, null);
"""


@pytest.fixture
def sides(churn_database: ServiceDatabase) -> Iterator[Sides]:
    both = Sides(churn_database.owner_url, TABLES)
    both.both(BACKED_UP)
    yield both
    both.conn.close()


def test_nothing_changed_changes_nothing(sides: Sides) -> None:
    merged = sides.merge()
    assert [(each.table, each.inserted, each.changed, each.deleted) for each in merged.tables] == [
        ("public.company", 0, 0, 0),
        ("public.item", 0, 0, 0),
    ]
    assert merged.conflicts == 0


def test_everything_since_the_backup_is_carried_over(sides: Sides) -> None:
    sides.run(
        "live",
        """
        INSERT INTO company VALUES (4, 'd', 'busy');
        INSERT INTO item (company, price) VALUES (4, 1.50), (1, 2);
        UPDATE item SET price = 10.0 WHERE id = 1;
        UPDATE item SET note = '[2]' WHERE id = 2;
        DELETE FROM company WHERE id = 2;
        """,
    )
    merged = sides.merge()
    for query in ("SELECT * FROM company ORDER BY id", "SELECT item::text FROM item ORDER BY id"):
        assert sides.rows(query) == sides.rows(query, "live")
    item = merged.of("item")
    assert (item.inserted, item.changed, merged.of("company").deleted) == (2, 2, 1)
    assert sides.rows("INSERT INTO item (price) VALUES (1) RETURNING id") == [(6,)]


def test_the_damaged_column_comes_from_the_backup_and_the_others_from_the_live_row(sides: Sides) -> None:
    sides.run("live", "UPDATE item SET note = '[9]' WHERE id = 3")
    xid = sides.run("live", "UPDATE item SET price = 0")
    sides.run("live", "UPDATE item SET price = 7 WHERE id = 2")
    sides.merge(Damage("item", ("price",), None, (xid,), written=(("price", "0"),)))
    assert sides.rows("SELECT id, price, note::text FROM item ORDER BY id") == [
        (1, 10, "{}"),
        (2, 7, "[1]"),
        (3, 30, "[9]"),
    ]
    assert sides.listed() == {("3", "price", "older")}


def test_rows_that_the_damage_deleted_come_back_and_are_listed(sides: Sides) -> None:
    sides.run("live", "DELETE FROM item WHERE company = 1")
    merged = sides.merge(Damage("item", condition="company = 1", verb="deleted"))
    assert sides.rows("SELECT id FROM item ORDER BY id") == [(1,), (2,), (3,)]
    assert merged.of("item").kept == 2
    assert sides.listed() == {("1", "", "deletion"), ("2", "", "deletion")}


def test_rows_that_the_damage_inserted_are_not_carried(sides: Sides) -> None:
    sides.run("live", "INSERT INTO company VALUES (4, 'mine', 'calm')")
    xid = sides.run("live", "INSERT INTO company SELECT id + 100, 'copy of ' || name, mood FROM company")
    sides.run("live", "UPDATE company SET mood = 'busy' WHERE id = 101")
    merged = sides.merge(Damage("company", xids=(xid,), verb="inserted"))
    assert sides.rows("SELECT id FROM company ORDER BY id") == [(1,), (2,), (3,), (4,), (101,)]
    assert merged.of("company").refused == 3
    assert sides.listed() == {("101", "", "written-after")}


def test_a_new_row_that_was_hit_is_carried_and_listed(sides: Sides) -> None:
    sides.run("live", "INSERT INTO item (price) VALUES (5)")
    xid = sides.run("live", "UPDATE item SET price = 0")
    sides.run("live", "INSERT INTO item (price) VALUES (6)")
    sides.merge(Damage("item", ("price",), None, (xid,), written=(("price", "0"),)))
    assert sides.rows("SELECT id, price FROM item WHERE id > 3 ORDER BY id") == [(4, 0), (5, 6)]
    assert sides.listed() == {("4", "price", "no-right-value")}


def test_what_a_constraint_refuses_is_listed_and_aborts_nothing(sides: Sides) -> None:
    sides.run("old", "ALTER TABLE item ADD CONSTRAINT cheap CHECK (price < 100)")
    sides.run("live", "ALTER TABLE item DROP CONSTRAINT item_company_fkey; ALTER TYPE mood ADD VALUE 'new'")
    sides.run(
        "live",
        """
        INSERT INTO item (company, price) VALUES (1, 1000), (99, 1);
        UPDATE company SET mood = 'new' WHERE id = 1;
        """,
    )
    sides.merge()
    assert sides.rows("SELECT id FROM item ORDER BY id") == [(1,), (2,), (3,)]
    assert sides.listed() == {
        ("4", "", "refused: cheap"),
        ("5", "", "refused: item_company_fkey"),
        ("1", "mood", "unfit"),
    }


def test_a_unique_value_that_came_again_is_a_conflict(sides: Sides) -> None:
    sides.run("live", "DELETE FROM company WHERE id = 3")
    sides.run("live", "INSERT INTO company VALUES (5, 'c', 'busy'); INSERT INTO item (company, price) VALUES (5, 1)")
    sides.merge(Damage("company", condition="id = 3", verb="deleted"))
    assert sides.rows("SELECT id FROM company ORDER BY id") == [(1,), (2,), (3,)]
    assert sides.listed() == {
        ("3", "", "deletion"),
        ("5", "", "refused: company_name_key"),
        ("4", "", "refused: item_company_fkey"),
    }


def test_values_that_wander_are_written_in_turns(sides: Sides) -> None:
    sides.run("live", "UPDATE company SET name = 'd' WHERE id = 3")
    sides.run("live", "UPDATE company SET name = 'c' WHERE id = 2")
    sides.run("live", "UPDATE company SET name = 'b' WHERE id = 1")
    sides.merge()
    assert sides.rows("SELECT id, name FROM company ORDER BY id") == [(1, "b"), (2, "c"), (3, "d")]
    assert sides.listed() == set()


def test_values_that_change_places_are_a_conflict(sides: Sides) -> None:
    sides.run("live", "UPDATE company SET name = 'x' WHERE id = 1")
    sides.run("live", "UPDATE company SET name = 'a' WHERE id = 2")
    sides.run("live", "UPDATE company SET name = 'b' WHERE id = 1")
    sides.merge()
    assert sides.rows("SELECT id, name FROM company ORDER BY id") == [(1, "a"), (2, "b"), (3, "c")]
    assert sides.listed() == {("1", "", "refused: values change places"), ("2", "", "refused: values change places")}


@pytest.mark.parametrize("said", ["price = 1); DROP TABLE item; --", "price = 1;", "", "price = '", "1) OR (1"])
def test_a_condition_that_is_no_expression_is_refused(sides: Sides, said: str) -> None:
    sides.run("live", "DELETE FROM item")
    with pytest.raises(UsageError):
        sides.merge(Damage("item", condition=said, verb="deleted"))
    assert len(sides.rows("SELECT FROM item")) == 3


def keyless(sides: Sides) -> None:
    sides.both("CREATE TABLE note (what text, amount integer); INSERT INTO note VALUES ('a', 1), ('a', 1), ('b', 2)")


def test_a_table_without_a_key_is_compared_row_by_row(sides: Sides) -> None:
    keyless(sides)
    sides.run("live", "DELETE FROM note WHERE what = 'b'; INSERT INTO note VALUES ('a', 1), ('c', NULL)")
    merged = sides.merge()
    assert sides.rows("SELECT * FROM note ORDER BY 1, 2") == [("a", 1), ("a", 1), ("a", 1), ("c", None)]
    assert (merged.of("note").compared, merged.of("note").inserted, merged.of("note").deleted) == ("rows", 2, 1)


def test_damage_to_a_table_without_a_key_is_listed(sides: Sides) -> None:
    keyless(sides)
    xid = sides.run("live", "UPDATE note SET amount = 0")
    sides.run("live", "INSERT INTO note VALUES ('c', 3)")
    merged = sides.merge(Damage("note", ("amount",), None, (xid,)))
    assert sides.rows("SELECT * FROM note ORDER BY 1, 2") == [("a", 1), ("a", 1), ("b", 2), ("c", 3)]
    assert (merged.of("note").kept, merged.of("note").refused) == (3, 3)
    assert sorted(each.reason for each in sides.conflicts()) == (
        ["deletion"] * 3 + ["no-right-value"] * 3 + ["written-after"]
    )


def test_after_preparing_only_what_changed_since_is_looked_at(sides: Sides) -> None:
    sides.run("live", "INSERT INTO company VALUES (4, 'd'), (5, 'e'); DELETE FROM item WHERE id = 2")
    first = sides.prepare()
    assert (first.of("company").inserted, first.of("item").deleted) == (2, 1)
    sides.run("live", "INSERT INTO company VALUES (6, 'f'); UPDATE company SET name = 'bb' WHERE id = 2")
    sides.run("live", "DELETE FROM company WHERE id IN (1, 5)")
    merged = sides.merge()
    company = merged.of("company")
    assert (company.compared, company.inserted, company.changed, company.deleted) == ("since", 1, 1, 2)
    for query in ("SELECT * FROM company ORDER BY id", "SELECT item::text FROM item ORDER BY id"):
        assert sides.rows(query) == sides.rows(query, "live")


def test_a_deletion_that_an_insertion_makes_up_for_is_seen(sides: Sides) -> None:
    sides.prepare()
    sides.run("live", "DELETE FROM company WHERE id = 3")
    sides.run("live", "INSERT INTO company VALUES (7, 'g')")
    sides.merge()
    assert sides.rows("SELECT id FROM company ORDER BY id") == [(1,), (2,), (7,)]


def test_what_is_written_while_preparing_is_merged_later(sides: Sides) -> None:
    with sides.other() as writer:
        writer.execute("INSERT INTO live.company VALUES (8, 'h')")
        sides.prepare()
        sides.run("live", "INSERT INTO company VALUES (9, 'i')")
        writer.commit()
    sides.merge()
    assert sides.rows("SELECT id FROM company ORDER BY id") == [(1,), (2,), (3,), (8,), (9,)]


def test_a_damaged_value_that_is_written_over_after_preparing_is_listed(sides: Sides) -> None:
    xid = sides.run("live", "UPDATE item SET price = 0")
    damage = Damage("item", ("price",), None, (xid,), written=(("price", "0"),))
    sides.prepare(damage)
    sides.run("live", "UPDATE item SET price = 5 WHERE id = 1; UPDATE item SET note = '[3]' WHERE id = 2")
    sides.merge(damage)
    assert sides.rows("SELECT id, price FROM item ORDER BY id") == [(1, 5), (2, 0), (3, 30)]
    assert sides.listed() == {("2", "price", "written-after")}


def test_a_copy_that_was_prepared_for_one_damage_is_not_merged_for_another(sides: Sides) -> None:
    sides.prepare()
    with pytest.raises(RollbackError):
        sides.merge(Damage("item", verb="deleted"))


def test_preparing_wants_one_snapshot(sides: Sides) -> None:
    with pytest.raises(UsageError):
        prepare_merge(sides.conn, damaged={}, restored={}, damage=(), config=MergeConfig())


def test_a_trigger_of_a_person_does_not_fire_and_is_there_afterwards(sides: Sides) -> None:
    sides.run(
        "old",
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''fired''; END';
        CREATE TRIGGER on_row BEFORE INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION refuse();
        CREATE TRIGGER off AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION refuse();
        ALTER TABLE item DISABLE TRIGGER off;
        """,
    )
    sides.run("live", "INSERT INTO item (price) VALUES (1); UPDATE item SET price = 2 WHERE id = 1")
    sides.merge()
    assert sides.rows("SELECT count(*) FROM item") == [(4,)]
    assert sides.rows("SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1") == [
        ("off", "D"),
        ("on_row", "O"),
    ]
    assert sides.rows("SELECT bool_or(condeferrable) FROM pg_constraint") == [(False,)]


def test_columns_and_tables_that_stay_behind_are_named_and_counted(sides: Sides) -> None:
    sides.run(
        "live", "ALTER TABLE item ADD tag text; UPDATE item SET tag = 'x' WHERE id < 3; CREATE TABLE extra (a int)"
    )
    sides.run("live", "INSERT INTO extra VALUES (1)")
    merged = sides.merge()
    assert merged.left_columns == (LeftColumn("public.item", "tag", 2),)
    assert merged.left_tables == (LeftTable("public.extra", 1),)
    assert (merged.of("item").changed, merged.conflicts) == (0, 0)


def test_the_settings_of_the_transaction_are_as_before(sides: Sides) -> None:
    before = sides.conn.execute("SELECT name, setting FROM pg_settings ORDER BY name").fetchall()
    with sides.conn.transaction():
        merge(sides.conn, damaged=SIDES[0], restored=SIDES[1], damage=(), config=MergeConfig(mark="m"))
        assert sides.conn.execute("SELECT name, setting FROM pg_settings ORDER BY name").fetchall() == before


def test_a_condition_that_held_in_between_only_is_not_overlooked(sides: Sides) -> None:
    sides.run("live", "UPDATE item SET company = 3 WHERE id = 1")
    xid = sides.run("live", "UPDATE item SET price = 0 WHERE company = 3")
    sides.run("live", "UPDATE item SET company = 2 WHERE id = 1")
    sides.merge(Damage("item", ("price",), "company = 3", (xid,), written=(("price", "0"),)))
    assert sides.listed() == {("1", "price", "written-after")}


def test_a_damage_that_nothing_tells_from_later_writes_is_refused(sides: Sides) -> None:
    with pytest.raises(UsageError):
        sides.merge(Damage("item", ("price",)))


def test_a_key_that_was_damaged_is_replaced_by_another(sides: Sides) -> None:
    sides.both("ALTER TABLE item DROP CONSTRAINT item_company_fkey")
    xid = sides.run("live", "UPDATE company SET id = id + 100")
    sides.run("live", "UPDATE company SET mood = 'busy' WHERE name = 'a'")
    sides.merge(Damage("company", ("id",), None, (xid,), written=(("id", "id + 100"),)))
    assert sides.rows("SELECT id, name FROM company ORDER BY name") == [(101, "a"), (2, "b"), (3, "c")]
    assert {(each.key["name"], each.column, each.reason) for each in sides.conflicts()} == {
        ("a", "id", "written-after")
    }


def test_a_mixture_that_a_constraint_refuses_is_left_as_it_is_live(sides: Sides) -> None:
    sides.both("ALTER TABLE item ADD CONSTRAINT noted CHECK (note IS NULL OR price > 5)")
    sides.run("old", "UPDATE item SET price = 1 WHERE id = 3")
    sides.run("live", "UPDATE item SET price = 1 WHERE id = 3")
    sides.run("live", "UPDATE item SET price = 50 WHERE id = 3")
    sides.run("live", "UPDATE item SET note = '[5]' WHERE id = 3")
    damage = Damage("item", ("price",), "id = 3", (), written=(("price", "50"),))
    merged = sides.merge(damage)
    assert sides.rows("SELECT price, note::text FROM item WHERE id = 3") == [(50, "[5]")]
    assert ("3", "", "left live: noted") in sides.listed()
    assert len(merged.notes) == 1


def test_row_level_security_hides_no_row_from_the_merge(sides: Sides) -> None:
    secured = "ALTER TABLE item ENABLE ROW LEVEL SECURITY; ALTER TABLE item FORCE ROW LEVEL SECURITY"
    sides.run("live", "INSERT INTO item (price) VALUES (1); DELETE FROM item WHERE id = 2")
    sides.both(secured)
    with pytest.raises(UsageError):
        sides.prepare()
    sides.merge()
    assert sides.rows("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'item'") == [(True,), (True,)]
    sides.both("ALTER TABLE item NO FORCE ROW LEVEL SECURITY")
    assert sides.rows("SELECT id FROM item ORDER BY id") == [(1,), (3,), (4,)]


def test_partitions_that_came_since_are_made_again(sides: Sides) -> None:
    sides.both(
        """
        CREATE TABLE visit (id integer, day integer, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
        CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM (1) TO (10);
        INSERT INTO visit VALUES (1, 1), (2, 1);
        """
    )
    sides.run("live", "CREATE TABLE visit_2 PARTITION OF visit FOR VALUES FROM (10) TO (20)")
    sides.run("live", "INSERT INTO visit VALUES (3, 12); UPDATE visit SET day = 11 WHERE id = 2")
    merged = sides.merge()
    assert sides.rows("SELECT id, day FROM visit ORDER BY id") == [(1, 1), (2, 11), (3, 12)]
    assert sides.rows("SELECT count(*) FROM visit_2") == [(2,)]
    assert "visit_2" in merged.notes[0]


def test_sequences_go_on_where_the_furthest_stands(sides: Sides) -> None:
    sides.both("CREATE SEQUENCE up; CREATE SEQUENCE down INCREMENT -1")
    sides.run("live", "SELECT nextval('up'), nextval('up'), nextval('down')")
    sides.run("old", "SELECT setval('item_id_seq', 50)")
    sides.merge()
    assert sides.rows("SELECT nextval('up'), nextval('down'), nextval('item_id_seq')") == [(3, -2, 51)]

"""Whatever was written around whatever damage: what a merge yields is what would be there without it, or it is listed.

The model is the same table without the damage. Two things nobody can know, and the model allows them: a damaged column
that was written between the backup and the damage and nothing else of its row, and a row that came after the backup and
that the damage deleted.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from merge_sides import Sides

from toolkit.drill.database import ServiceDatabase
from toolkit.rollback.damage import Damage

Row = dict[str, int]
NONE: Row = {}

TABLES = """
    CREATE TABLE item (id integer PRIMARY KEY, a integer, b integer);
    CREATE TABLE parent (id integer PRIMARY KEY, code integer UNIQUE);
    CREATE TABLE child (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parent, slot integer UNIQUE);
"""


@pytest.fixture
def sides(churn_database: ServiceDatabase) -> Iterator[Sides]:
    both = Sides(churn_database.owner_url, TABLES)
    yield both
    both.conn.close()


@dataclass(frozen=True)
class Write:
    """One acknowledged write. `insert` does nothing where the key is there, the others where it is not."""

    verb: str
    key: int
    value: int

    def sql(self) -> str:
        return {
            "insert": f"INSERT INTO item VALUES ({self.key}, {self.value}, {self.value + 1}) ON CONFLICT DO NOTHING",
            "set a": f"UPDATE item SET a = {self.value} WHERE id = {self.key}",
            "set b": f"UPDATE item SET b = {self.value} WHERE id = {self.key}",
            "delete": f"DELETE FROM item WHERE id = {self.key}",
        }[self.verb]


@dataclass(frozen=True)
class Harm:
    """A damage: how it is done, and how it is told."""

    statement: str
    told: Damage
    xids: bool
    columns: tuple[str, ...] = ()


OVERWRITING = {
    "everything": ("UPDATE item SET a = 5", None, "5"),
    "where b": ("UPDATE item SET a = 5 WHERE b > 3", "b > 3", "5"),
    "where a": ("UPDATE item SET a = 5 WHERE a < 4", "a < 4", "5"),
    "by what was there": ("UPDATE item SET a = a * 2 + 1", None, "a * 2 + 1"),
}


@st.composite
def harms(draw: st.DrawFn) -> Harm:
    kind = draw(st.sampled_from([*OVERWRITING, "rows", "delete", "delete where", "insert"]))
    xids = draw(st.booleans())
    if kind in OVERWRITING:
        statement, condition, wrote = OVERWRITING[kind]
        written = (("a", wrote),) if not xids or draw(st.booleans()) else ()
        return Harm(statement, Damage("item", ("a",), condition, written=written), xids, ("a",))
    if kind == "rows":
        return Harm("UPDATE item SET a = 5, b = 6", Damage("item"), True, ("a", "b"))
    if kind == "insert":
        condition = None if xids else "id > 100"
        return Harm(
            "INSERT INTO item SELECT id + 100, a, b FROM item", Damage("item", (), condition, verb="inserted"), xids
        )
    condition = "b > 3" if kind == "delete where" else None
    where = f"WHERE {condition}" if condition else ""
    return Harm(f"DELETE FROM item {where}", Damage("item", (), condition, verb="deleted"), False)


rows = st.dictionaries(st.integers(1, 8), st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=8)
writes = st.lists(
    st.builds(Write, st.sampled_from(["insert", "set a", "set b", "delete"]), st.integers(1, 10), st.integers(0, 7)),
    max_size=10,
)


@dataclass
class World:
    """What there would be without the damage, and what is known of how it came."""

    truth: dict[int, Row]
    early: set[tuple[int, str]] = field(default_factory=set)  # written before the damage, not after it
    harmed: bool = False

    def write(self, write: Write) -> None:
        row, key = self.truth.get(write.key), write.key
        if write.verb == "insert" and row is None:
            self.truth[key] = {"a": write.value, "b": write.value + 1}
            self._wrote(key, "a", "b")
        elif write.verb == "delete":
            self.truth.pop(key, None)
        elif write.verb in ("set a", "set b") and row is not None:
            row[write.verb[-1]] = write.value
            self._wrote(key, write.verb[-1])

    def _wrote(self, key: int, *columns: str) -> None:
        for column in columns:
            (self.early.discard if self.harmed else self.early.add)((key, column))


def table(sides: Sides, side: str) -> dict[int, Row]:
    return {key: {"a": a, "b": b} for key, a, b in sides.rows("SELECT id, a, b FROM item", side)}


DOUBLED = Damage("item", ("a",), None, written=(("a", "a * 2 + 1"),))


@example(  # the damage met a value that the backup does not know, and wrote what came of it
    base={1: (0, 0)},
    before=[Write("set a", 1, 1)],
    harm=Harm("UPDATE item SET a = a * 2 + 1", DOUBLED, False, ("a",)),
    after=[],
    later=[],
    prepared=False,
)
@example(  # deleted between preparing the copy and merging: it stands in the copy, and is listed
    base={},
    before=[],
    harm=Harm("DELETE FROM item", Damage("item", (), None, verb="deleted"), False),
    after=[Write("insert", 1, 0)],
    later=[Write("delete", 1, 0)],
    prepared=True,
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=rows, before=writes, harm=harms(), after=writes, later=writes, prepared=st.booleans())
def test_every_write_is_there_or_listed(
    sides: Sides, base: dict[int, tuple[int, int]], before: list[Write], harm: Harm, after: list[Write],
    later: list[Write], prepared: bool,
) -> None:  # fmt: skip
    restart(sides, base)
    world = World({key: {"a": a, "b": b} for key, (a, b) in base.items()})
    for write in before:
        perform(sides, world, write)
    met = table(sides, "live")
    xid = sides.run("live", harm.statement)  # type: ignore[arg-type]
    damage = harm.told if not harm.xids else told_by(harm.told, xid)
    world.harmed = True
    wrote = table(sides, "live")
    for write in after:
        perform(sides, world, write)
    if prepared:
        sides.prepare(damage)
    for write in later:
        perform(sides, world, write)
    live = table(sides, "live")
    sides.merge(damage)
    judge(sides, world, base, harm, met, wrote, live)


def restart(sides: Sides, base: dict[int, tuple[int, int]]) -> None:
    sides.both("TRUNCATE item, parent, child")
    if sides.conn.execute("SELECT to_regclass('toolkit.conflict')").fetchone() != (None,):
        sides.conn.execute("TRUNCATE toolkit.conflict, toolkit.merge_watermark")
    for key, (a, b) in base.items():
        sides.both(f"INSERT INTO item VALUES ({key}, {a}, {b})")  # type: ignore[arg-type]


def perform(sides: Sides, world: World, write: Write) -> None:
    """On the live table; what it did there counts as acknowledged only if the row was there for it."""
    there = write.key in table(sides, "live")
    sides.run("live", write.sql())  # type: ignore[arg-type]
    if write.verb in ("set a", "set b") and not there:
        return
    if write.verb == "insert" and there:
        return
    if write.verb == "insert":
        world.truth.pop(write.key, None)
    world.write(write)


def told_by(damage: Damage, xid: str) -> Damage:
    return Damage(damage.table, damage.columns, damage.condition, (xid,), damage.verb, damage.written)


def judge(
    sides: Sides, world: World, base: dict[int, tuple[int, int]], harm: Harm,
    met: dict[int, Row], wrote: dict[int, Row], live: dict[int, Row],
) -> None:  # fmt: skip
    found, listed = table(sides, "old"), {(int(key), column) for key, column, _ in sides.listed()}
    gone = {key for key in met if key not in wrote}
    for key in {*found, *world.truth}:
        if (key, "") in listed:
            continue
        if key in world.truth and key not in found:
            assert key in gone and key not in base, f"{key} is lost"
            continue
        assert key in world.truth, f"{key} was invented or revived"
        was = dict(zip(("a", "b"), base.get(key, ()), strict=False))
        for column, value in found[key].items():
            right = world.truth[key][column]
            if value == right or (key, column) in listed:
                continue
            assert column in harm.columns, f"{key}.{column} is not what was written"
            assert value == was.get(column), f"{key}.{column} was invented or left damaged"
            others = [name for name in ("a", "b") if name not in harm.columns]
            unseen = (key, column) in world.early and all(live[key][name] == was[name] for name in others)
            alike = not harm.xids and wrote.get(key, NONE).get(column) == right
            same = not harm.xids and live[key][column] == right
            assert unseen or alike or same, f"{key}.{column} is lost"
    for key, _ in listed:
        assert key in live or key in base or key in found, f"{key} is listed and nowhere"


codes = st.integers(1, 6)
family = st.one_of(
    st.builds("INSERT INTO parent VALUES ({}, {}) ON CONFLICT DO NOTHING".format, codes, codes),
    st.builds(
        "INSERT INTO child SELECT {0}, {1}, {2} WHERE EXISTS (SELECT FROM parent WHERE id = {1}) "
        "ON CONFLICT DO NOTHING".format,
        codes,
        codes,
        codes,
    ),
    st.builds(
        "UPDATE parent SET code = {1} WHERE id = {0} AND NOT EXISTS (SELECT FROM parent WHERE code = {1})".format,
        codes,
        codes,
    ),
    st.builds(
        "UPDATE child SET slot = {1} WHERE id = {0} AND NOT EXISTS (SELECT FROM child WHERE slot = {1})".format,
        codes,
        codes,
    ),
    st.builds("DELETE FROM child WHERE id = {}".format, codes),
    st.builds("DELETE FROM parent WHERE id = {0} AND NOT EXISTS (SELECT FROM child WHERE parent = {0})".format, codes),
)
statements = st.lists(family, max_size=12)
family_harm = st.sampled_from(
    [
        ("DELETE FROM child", Damage("child", verb="deleted")),
        ("DELETE FROM child; DELETE FROM parent", Damage("parent", verb="deleted"), Damage("child", verb="deleted")),
        ("UPDATE child SET slot = slot + 100", Damage("child", ("slot",), None, ("xid",))),
        (
            "INSERT INTO parent SELECT id + 100, code + 100 FROM parent",
            Damage("parent", (), None, ("xid",), "inserted"),
        ),
        ("SELECT",),
    ]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=statements, before=statements, harm=family_harm, after=statements, prepared=st.booleans())
def test_constraints_abort_no_merge_and_lose_no_row(
    sides: Sides, base: list[str], before: list[str], harm: tuple[str, *tuple[Damage, ...]], after: list[str],
    prepared: bool,
) -> None:  # fmt: skip
    restart(sides, {})
    for statement in base:
        sides.both(statement)  # type: ignore[arg-type]
    for statement in before:
        sides.run("live", statement)  # type: ignore[arg-type]
    xid = sides.run("live", harm[0])  # type: ignore[arg-type]
    damage = [told_by(each, xid) if each.xids else each for each in harm[1:]]
    if prepared:
        sides.prepare(*damage)
    for statement in after:
        sides.run("live", statement)  # type: ignore[arg-type]
    sides.merge(*damage)
    listed = {(each.table, int(each.key["id"])) for each in sides.conflicts()}
    for name in ("parent", "child"):
        live = {row[0]: row for row in sides.rows(f"SELECT * FROM {name}", "live")}  # type: ignore[arg-type]
        found = {row[0]: row for row in sides.rows(f"SELECT * FROM {name}")}  # type: ignore[arg-type]
        hit = any(each.table == name for each in damage)
        for key, row in live.items():
            harmed = hit and (key > 100 or harm[0].startswith("UPDATE"))
            assert found.get(key) == row or (f"public.{name}", key) in listed or harmed
        for key in found:
            assert key in live or (f"public.{name}", key) in listed
    assert sides.rows(
        "SELECT count(*) FROM child LEFT JOIN parent ON parent.id = child.parent WHERE parent.id IS NULL"
    ) == [(0,)]

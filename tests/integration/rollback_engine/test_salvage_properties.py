"""Generated migrations: after up, random writes and our way down the schema is the earlier one, what the migration did
not touch keeps its data, and what was salvaged goes back once the migration is applied again.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from downs import Migrated
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from toolkit.drill.database import create_database
from toolkit.server import PostgresServer
from toolkit.verify.fingerprints import TableFingerprint, difference, fingerprint

ROWS = 12
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # an example takes seconds
VALUES = {
    "integer": "(i * {k} + 1)",
    "bigint": "(i * {k})::bigint * 1000000007",
    "numeric(12,3)": "(i * {k}) / 7.0",
    "text": "'t' || i * {k}",
    "varchar(40)": "left(md5((i * {k})::text), 1 + i % 9)",
    "boolean": "(i * {k}) % 2 = 0",
    "jsonb": "jsonb_build_object('k', i * {k}, 'n', NULL)",
    "json": "json_build_object('k', i * {k})",
    "timestamptz": "'2026-11-25 00:00+00'::timestamptz + i * {k} * interval '1 min'",
    "double precision": "sqrt((i * {k})::float8)",
    "integer[]": "ARRAY[i, NULL, {k}]",
    "bytea": "decode(md5((i * {k})::text), 'hex')",
    "hue": "(ARRAY['red', 'green', 'blue'])[1 + (i * {k}) % 3]::hue",
}
DEFAULTS = {
    "integer": " NOT NULL DEFAULT 7",
    "text": " DEFAULT 'said'",
    "jsonb": " DEFAULT '{}'",
    "boolean": " DEFAULT false",
    "hue": " DEFAULT 'red'",
}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    nulls: bool
    default: bool

    @property
    def definition(self) -> str:
        return f'"{self.name}" {self.type}{DEFAULTS.get(self.type, "") if self.default else ""}'

    def value(self, k: int) -> str:
        plain = VALUES[self.type].format(k=k)
        return f"CASE WHEN i % 3 = 0 THEN NULL ELSE {plain} END" if self.nulls else plain


@dataclass(frozen=True)
class Table:
    name: str
    keyed: bool
    columns: tuple[Column, ...]

    @property
    def create(self) -> str:
        key = "PRIMARY KEY" if self.keyed else ""
        return f'CREATE TABLE "{self.name}" (id int {key}, {", ".join(c.definition for c in self.columns)})'

    def fill(self, k: int, first: int = 1) -> str:
        names = ", ".join(f'"{column.name}"' for column in self.columns)
        values = ", ".join(column.value(k) for column in self.columns)
        last = first + ROWS - 1
        return f'INSERT INTO "{self.name}" (id, {names}) SELECT i, {values} FROM generate_series({first}, {last}) AS i'


@dataclass(frozen=True)
class Change:
    """One thing that a migration does, its undoing, and what the application writes meanwhile."""

    up: str
    down: str
    writes: tuple[str, ...] = ()


names = st.sampled_from(["a", "b", "order", "Mixed", "é", "with space", "x%y", "q'q"])
types = st.sampled_from(sorted(VALUES))
columns = st.lists(
    st.builds(Column, names, types, st.booleans(), st.just(False)), min_size=1, max_size=4, unique_by=lambda c: c.name
).map(tuple)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[Table], list[Change]]:
    """Tables as they were, and the changes of one migration."""
    tables = [
        Table(name, draw(st.booleans()), draw(columns))
        for name in draw(st.lists(st.sampled_from(["t1", "T 2", "user"]), min_size=1, max_size=2, unique=True))
    ]
    makers = st.sampled_from([added_column, created_table, changed_type, mapped_label, constrained, changed_rows])
    return tables, [draw(draw(makers)(number, tables)) for number in range(draw(st.integers(1, 3)))]


@st.composite
def added_column(draw: st.DrawFn, number: int, tables: list[Table]) -> Change:
    table, column = draw(st.sampled_from(tables)), Column(f"new {number}", draw(types), False, draw(st.booleans()))
    write = f'UPDATE "{table.name}" SET "{column.name}" = w.v FROM (SELECT i, {column.value(3)} AS v '
    return Change(
        f'ALTER TABLE "{table.name}" ADD COLUMN {column.definition}',
        draw(
            st.sampled_from(
                [
                    f'ALTER TABLE "{table.name}" DROP COLUMN "{column.name}"',
                    f'DO $$ BEGIN ALTER TABLE "{table.name}" DROP COLUMN "{column.name}"; END $$',
                ]
            )
        ),
        (f"{write} FROM generate_series(1, {ROWS}) AS i) AS w WHERE w.i = id",),
    )


@st.composite
def created_table(draw: st.DrawFn, number: int, tables: list[Table]) -> Change:
    table = Table(f"made {number}", draw(st.booleans()), draw(columns))
    dropped = draw(st.sampled_from(["", "DO $$ BEGIN EXECUTE '{}'; END $$"]))
    drop = f'DROP TABLE "{table.name}"'
    return Change(table.create, dropped.format(drop) or drop, (table.fill(5),))


@st.composite
def changed_type(draw: st.DrawFn, number: int, tables: list[Table]) -> Change:
    table, column = draw(st.sampled_from(tables)), f"grown {number}"
    up = f'ALTER TABLE "{table.name}" ADD COLUMN "{column}" bigint; UPDATE "{table.name}" SET "{column}" = id'
    down = f'ALTER TABLE "{table.name}" ALTER "{column}" TYPE int USING ("{column}" % 7)::int; '
    return Change(
        up, f'{down}ALTER TABLE "{table.name}" DROP "{column}"', (f'UPDATE "{table.name}" SET "{column}" = id * 9',)
    )


@st.composite
def mapped_label(draw: st.DrawFn, number: int, tables: list[Table]) -> Change:
    """An enum gets a label; going down, rows that have it are mapped onto another."""
    table, kind, column = draw(st.sampled_from(tables)), f"kind_{number}", f"kind {number}"
    up = f"CREATE TYPE {kind} AS ENUM ('old'); "
    up += f'ALTER TABLE "{table.name}" ADD COLUMN "{column}" {kind} DEFAULT \'old\'; '
    grown = f"ALTER TYPE {kind} RENAME TO {kind}_was; CREATE TYPE {kind} AS ENUM ('old', 'new'); "
    moved = (
        f'ALTER TABLE "{table.name}" ALTER "{column}" DROP DEFAULT, ALTER "{column}" TYPE {kind} '
        f'USING "{column}"::text::{kind}; DROP TYPE {kind}_was; '
    )
    shrunk = f"ALTER TYPE {kind} RENAME TO {kind}_was; CREATE TYPE {kind} AS ENUM ('old'); "
    mapped = f'UPDATE "{table.name}" SET "{column}" = \'old\' WHERE "{column}" = \'new\'; '
    gone = f'ALTER TABLE "{table.name}" DROP COLUMN "{column}"; DROP TYPE {kind}'
    write = f'UPDATE "{table.name}" SET "{column}" = \'new\' WHERE id % 2 = 0'
    return Change(up + grown + moved, mapped + shrunk + moved + gone, (write,))


@st.composite
def constrained(draw: st.DrawFn, number: int, tables: list[Table]) -> Change:
    table = draw(st.sampled_from(tables))
    up = f'ALTER TABLE "{table.name}" ADD CONSTRAINT "c {number}" CHECK (id > 0); '
    up += f'CREATE INDEX "i {number}" ON "{table.name}" (id)'
    return Change(up, f'DROP INDEX "i {number}"; ALTER TABLE "{table.name}" DROP CONSTRAINT "c {number}"')


@st.composite
def changed_rows(draw: st.DrawFn, number: int, tables: list[Table]) -> Change:
    """A migration that brings rows, which its down takes away again, in one of several ways.

    Nothing deletes what the migration brought: applied again it brings it again, and putting back removes nothing.
    """
    table = Table(f"rows {number}", True, draw(columns))
    name = f'"{table.name}"'
    down = draw(
        st.sampled_from(
            [
                f"DELETE FROM {name} WHERE id > 4; DROP TABLE {name}",
                f'UPDATE {name} AS t SET "{table.columns[0].name}" = NULL WHERE t.id < 5; DROP TABLE {name}',
                f"TRUNCATE {name}; DROP TABLE {name}",
                f"DO $$ BEGIN DELETE FROM {name} WHERE id % 2 = 0; END $$; DROP TABLE {name}",
                f"WITH gone AS (DELETE FROM {name} RETURNING 1) SELECT count(*) FROM gone; DROP TABLE {name}",
                f'ALTER TABLE {name} RENAME TO "was {number}"; DROP TABLE "was {number}"',
            ]
        )
    )
    column = table.columns[0]
    changed = f'UPDATE {name} SET "{column.name}" = (SELECT {column.value(11)} FROM (VALUES (5)) AS v (i)) WHERE id = 3'
    return Change(f"{table.create}; {table.fill(2)}", down, (table.fill(3, first=100), changed))


@pytest.fixture(scope="module")
def fresh(
    cluster: PostgresServer, role_passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Fresh"]:
    made = Fresh(cluster, role_passwords, tmp_path_factory.mktemp("generated"))
    yield made
    made.drop()


@dataclass
class Fresh:
    """A database of its own for each example: object ids and salvage of another would tell it something."""

    cluster: PostgresServer
    passwords: dict[str, str] = field(repr=False)
    folder: Path
    names: tuple[str, ...] = ()

    def __call__(self) -> Migrated:
        self.drop()
        number = next(_numbers)
        name = f"salvage_properties_{number}"
        self.names = (name,)
        return Migrated(create_database(self.cluster, self.passwords, name), self.folder / str(number))

    def drop(self) -> None:
        with psycopg.connect(self.cluster.url(), autocommit=True) as conn:
            for name in self.names:
                conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
        self.names = ()


def fingerprints(migrated: Migrated, tables: list[Table]) -> list[TableFingerprint]:
    with psycopg.connect(migrated.database.admin_url) as conn:
        return [
            fingerprint(conn, f"public.{table.name}", ["id", *(column.name for column in table.columns)])
            for table in tables
        ]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
@given(pairs())
def test_down_restores_the_schema_and_salvage_restores_the_data(
    fresh: Fresh, pair: tuple[list[Table], list[Change]]
) -> None:
    tables, changes = pair
    migrated = fresh()
    try:
        migrated.apply(1, "CREATE TYPE hue AS ENUM ('red', 'green', 'blue'); " + "; ".join(t.create for t in tables))
        migrated.write(*(table.fill(k) for k, table in enumerate(tables, start=1)))
        earlier = migrated.signature()
        migrated.apply(2, "; ".join(c.up for c in changes), "; ".join(c.down for c in reversed(changes)))
        migrated.write(*(write for change in changes for write in change.writes))
        migrated.write(*(table.fill(7, first=50) for table in tables))
        kept, content = fingerprints(migrated, tables), migrated.content()
        migrated.take_back(2)
        assert difference(earlier, migrated.signature()) == []
        assert fingerprints(migrated, tables) == kept
        migrated.apply_again(2)
        migrated.put_back()
        assert migrated.content() == content
    finally:
        migrated.close()

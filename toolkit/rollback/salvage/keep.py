"""Copying what a down is about to destroy, in the down's own transaction, and proving that nothing slipped by.

    picture ─► for each statement: copy what it names, run it ─► picture ─► what vanished uncopied? (`missed`) ─► finish

A copy is a table in the incident's schema, which belongs to the owner of the tables and which nobody else may use: it
holds production data. It keeps the key beside what is lost; types that are not the server's own are kept as text, since
a down may drop them. Copying takes the down's own lock first: rows written between a copy and the drop would be lost,
and a lock that is raised later would meet readers who wait for us.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.salvage.compare import Covered, Missed, vanished
from toolkit.rollback.salvage.find import How, Spec, specs_of
from toolkit.rollback.salvage.put_back import put_back_sql
from toolkit.rollback.salvage.records import (
    LONGEST_NAME,
    Salvaged,
    begin_record,
    finish_record,
    forget_record,
    prepare,
    salvage_schema,
)
from toolkit.rollback.salvage.shapes import Picture, Shape, picture, writes
from toolkit.rollback.sql_lexer import Statement

# What the text of values depends on, and row-level security: an error rather than a part of the rows.
PINS = {
    "row_security": "off",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
SELF = "none"  # as SET ROLE says it


@dataclass
class _Kept:
    """A copy while the down goes on. `numbers` are the columns in it, `matched` those that tell its rows apart."""

    spec: Spec
    salvaged: Salvaged
    numbers: tuple[int, ...]
    matched: tuple[int, ...]


@dataclass
class Keeper:
    """What is salvaged in one transaction. `owner` is the role that the copies belong to.

    `doomed` are columns that the down will drop, as far as its text tells: no key is made of them.
    """

    conn: Connection
    incident: str
    version: int
    owner: str
    doomed: set[tuple[int, int]] = field(default_factory=set)
    kept: list[_Kept] = field(default_factory=list)
    whole: set[int] = field(default_factory=set)
    columns: set[tuple[int, int]] = field(default_factory=set)
    explained: dict[int, int] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    before: Picture = field(init=False)

    def __post_init__(self) -> None:
        self.before = picture(self.conn)
        self._schema = salvage_schema(self.incident)
        self._made_schema = False
        self._expected: dict[int, int] = {}

    def foresee(self, statements: Sequence[Statement], text: str) -> None:
        """Which columns go, as far as the catalog tells now; and the locks for it, before anything is copied."""
        found = [spec for each in statements for spec in specs_of(self.conn, each, text, self.before)]
        self.doomed |= {(spec.oid, number) for spec in found for number in spec.columns if not spec.where}
        for oid in sorted({spec.oid for spec in found}):
            of_table = [spec for spec in found if spec.oid == oid]
            self._lock(oid, exclusive=not all(_writes_only(spec) for spec in of_table))
            if _rows_and_columns(of_table):
                self.keep(Spec(How.BOTH, oid, temporary=True))

    def keep_before(self, statement: Statement, text: str) -> None:
        """Copy what this statement is about to destroy."""
        self._expected = {}
        for spec in specs_of(self.conn, statement, text, self.before):
            self.keep(spec)

    def ran(self, statement: Statement, rows: int) -> None:
        """It ran and wrote so many rows. More than were copied, and somebody unseen decides which: copy them all."""
        for oid, copied in self._expected.items():
            root = self.before.shapes[oid].root
            self.explained[root] = self.explained.get(root, 0) + max(rows, 0)
            if rows > copied:
                self.stale.add(root)

    def keep(self, spec: Spec) -> None:
        """Copy, unless it was copied. Raises DatabaseError."""
        shape = self.before.shapes[spec.oid]
        if {shape.oid, shape.root} & self.whole:
            return
        wanted = tuple(n for n in spec.columns if n in shape.stored and (spec.oid, n) not in self.columns)
        if spec.columns and not wanted:
            if spec.where:
                self._expected[spec.oid] = 2**62  # every row's value of these columns was copied
            return
        if self._unexplained(shape):
            self.stale.add(shape.root)
        self._lock(spec.oid, exclusive=not _writes_only(spec))
        rows = self._copy(replace(spec, columns=wanted), shape)
        if spec.whole:
            self.whole.add(spec.oid)
        elif not spec.where and not spec.only:
            self.columns |= {(spec.oid, number) for number in wanted}
        if spec.where or spec.how is not How.BOTH:
            self._expected[spec.oid] = rows

    def missed(self) -> list[Missed]:
        """What vanished although it was not copied; [] is what one wants."""
        return vanished(self.before, picture(self.conn), Covered(self.whole, self.columns, self.explained, self.stale))

    def finish(self) -> list[Salvaged]:
        """After the down: cut down what was copied whole, and write how each goes back. What was salvaged, in order."""
        after = picture(self.conn)
        done = [salvaged for each in self.kept if (salvaged := self._finished(each, after)) is not None]
        return done + self._sequences(after)

    # one copy -------------------------------------------------------------------------------------------------------

    def _copy(self, spec: Spec, shape: Shape) -> int:
        matched = self._key(shape)
        lost = spec.columns or tuple(shape.stored)
        there = _names_now(self.conn, spec.oid)
        wanted = sorted({*matched, *lost}) if matched else shape.stored
        numbers = tuple(number for number in wanted if number in there)
        with as_role(self.conn, SELF):
            if not self._made_schema:
                prepare(self.conn)
                self._make_schema()
            number = begin_record(self.conn, self.incident, self.version, spec.how, (shape.schema, shape.name))
        name = _fitting(f"{self.version}_{number}_{shape.name}")
        rows = self._copy_rows(spec, shape, numbers, name)
        if not rows:
            with as_role(self.conn, self.owner):
                self.conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(self._schema, name)))
            with as_role(self.conn, SELF):
                forget_record(self.conn, number)
            return 0
        columns = tuple(shape.columns[n].name for n in spec.columns)
        key = tuple(shape.columns[n].name for n in matched)
        salvaged = Salvaged(
            number, self.incident, self.version, spec.how, shape.schema, shape.name, columns, key, rows,
            self._schema, name, "", "",
        )  # fmt: skip
        self.kept.append(_Kept(spec, salvaged, numbers, matched))
        return rows

    def _copy_rows(self, spec: Spec, shape: Shape, numbers: Sequence[int], name: str) -> int:
        now = _names_now(self.conn, spec.oid)
        source = _name_now(self.conn, spec.oid)
        alias = sql.Identifier(spec.alias or "copied")
        only = sql.SQL("ONLY ") if spec.only or (shape.kind == "r" and not spec.where) else sql.SQL("")
        parts = [
            sql.SQL("{}.{}{} AS {}").format(
                alias,
                sql.Identifier(now[n]),
                sql.SQL("::text" if shape.columns[n].foreign_type else ""),
                sql.Identifier(shape.columns[n].name),
            )
            for n in numbers
        ]
        query = sql.SQL("CREATE TABLE {} AS SELECT {} FROM {}{} AS {}").format(
            sql.Identifier(self._schema, name), sql.SQL(", ").join(parts), only, source, alias
        )
        if spec.where:  # the team's own text, which is about to run anyway
            query = query + sql.SQL(" WHERE ") + sql.SQL(spec.where)
        with as_role(self.conn, self.owner), pinned(self.conn), self._seeing_all_rows(shape, source):
            return self.conn.execute(query).rowcount

    def _key(self, shape: Shape) -> tuple[int, ...]:
        """A key none of whose columns goes; () when there is none."""
        for key in shape.keys:
            if not any((shape.oid, number) in self.doomed for number in key):
                return key
        return ()

    def _unexplained(self, shape: Shape) -> bool:
        """Whether something that no statement told has written in this table before now."""
        now = writes(self.conn)
        parts = self.before.parts(shape.root)
        changed = sum(now[p.oid].changed - self.before.writes[p.oid].changed for p in parts if p.oid in now)
        return changed > self.explained.get(shape.root, 0)

    def _lock(self, oid: int, *, exclusive: bool) -> None:
        if oid not in self.before.shapes or not _exists(self.conn, oid):
            return
        mode = sql.SQL("ACCESS EXCLUSIVE" if exclusive else "SHARE ROW EXCLUSIVE")
        self.conn.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(_name_now(self.conn, oid), mode))

    @contextlib.contextmanager
    def _seeing_all_rows(self, shape: Shape, source: sql.Identifier) -> Iterator[None]:
        """Row-level security that is forced on the owner too would turn the copy into an error: lifted meanwhile."""
        if not shape.forced_security:
            yield
            return
        self.conn.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(source))
        yield
        self.conn.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(source))

    def _make_schema(self) -> None:
        name, owner = sql.Identifier(self._schema), sql.Identifier(self.owner)
        if self.conn.execute("SELECT to_regnamespace(%(name)s)", {"name": self._schema}).fetchone() == (None,):
            self.conn.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(name, owner))
        others = self.conn.execute(
            """
            SELECT DISTINCT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee)::text END
            FROM pg_namespace, LATERAL aclexplode(nspacl)
            WHERE nspname = %(name)s AND grantee <> nspowner
            """,
            {"name": self._schema},
        ).fetchall()
        with as_role(self.conn, self.owner):
            for (other,) in others:
                whom = sql.Identifier(other) if other else sql.SQL("PUBLIC")
                self.conn.execute(sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(name, whom))
        self._made_schema = True

    # after the down -------------------------------------------------------------------------------------------------

    def _finished(self, kept: _Kept, after: Picture) -> Salvaged | None:
        spec, shape = kept.spec, self.before.shapes[kept.spec.oid]
        now = after.shapes.get(spec.oid)
        salvaged = kept.salvaged
        if spec.temporary and now is not None and kept.matched:
            salvaged = self._cut_down(kept, shape, now)
            if not salvaged.rows:
                with as_role(self.conn, SELF):
                    forget_record(self.conn, salvaged.id)
                return None
        stable = _stable(shape, now, self.columns)
        put_back, note = put_back_sql(shape, spec, salvaged, kept.numbers, kept.matched, stable)
        salvaged = replace(salvaged, put_back=put_back, note=note)
        with as_role(self.conn, SELF):
            finish_record(self.conn, salvaged)
        return salvaged

    def _cut_down(self, kept: _Kept, shape: Shape, now: Shape) -> Salvaged:
        """Keep of a whole copy what is gone or differs now; of columns that went too nothing can be compared."""
        comparable = [n for n in kept.numbers if n in now.columns and now.columns[n].kind == shape.columns[n].kind]
        if len(comparable) < len(kept.numbers) or any(n not in comparable for n in kept.matched):
            return kept.salvaged
        whole = sql.Identifier(self._schema, kept.salvaged.kept_table)
        name = _fitting(f"{kept.salvaged.kept_table}_changed")
        on = sql.SQL(" AND ").join(_same(shape, now, n) for n in kept.matched)
        kept_row = sql.SQL(", ").join(sql.Identifier("kept", shape.columns[n].name) for n in kept.numbers)
        live_row = sql.SQL(", ").join(_as_kept(shape, now, n) for n in kept.numbers)
        query = sql.SQL(
            """
            CREATE TABLE {changed} AS
            SELECT kept.* FROM {whole} AS kept LEFT JOIN {live} AS live ON {on}
            WHERE live.{key} IS NULL OR ROW({kept_row})::record *<> ROW({live_row})::record
            """
        ).format(
            changed=sql.Identifier(self._schema, name), whole=whole, live=now.identifier, on=on,
            key=sql.Identifier(now.columns[kept.matched[0]].name), kept_row=kept_row, live_row=live_row,
        )  # fmt: skip
        with as_role(self.conn, self.owner), pinned(self.conn), self._seeing_all_rows(now, now.identifier):
            rows = self.conn.execute(query).rowcount
            self.conn.execute(sql.SQL("DROP TABLE {}").format(whole))
            if not rows:
                self.conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(self._schema, name)))
        return replace(kept.salvaged, rows=rows, kept_table=name)

    def _sequences(self, after: Picture) -> list[Salvaged]:
        """Sequences that are gone or went back: where they stood."""
        found = []
        for oid, (schema, name, last) in self.before.sequences.items():
            stands = after.sequences[oid][2] if oid in after.sequences else None
            if last is None or (stands is not None and stands >= last):
                continue
            put_back = sql.SQL(
                "SELECT setval({text}, GREATEST({last}, last_value)) FROM {sequence}"
            ).format(
                text=sql.Literal(sql.Identifier(schema, name).as_string(self.conn)),
                last=sql.Literal(last),
                sequence=sql.Identifier(schema, name),
            )  # fmt: skip
            with as_role(self.conn, SELF):
                prepare(self.conn)
                number = begin_record(self.conn, self.incident, self.version, "sequence", (schema, name))
                salvaged = Salvaged(
                    number, self.incident, self.version, "sequence", schema, name, (), (), 1, "", "",
                    put_back.as_string(self.conn), "",
                )  # fmt: skip
                finish_record(self.conn, salvaged)
            found.append(salvaged)
        return found


def _rows_and_columns(specs: Sequence[Spec]) -> bool:
    """Rows and columns of one table go: rows that are copied after a column went would lack it, so copy all first."""
    columns = [spec for spec in specs if spec.columns]
    return 0 < len(columns) < len(specs)


def _writes_only(spec: Spec) -> bool:
    """It changes rows and leaves the table as it is, so readers may go on."""
    return bool(spec.where) or spec.how is How.BOTH


def _stable(shape: Shape, now: Shape | None, copied: set[tuple[int, int]]) -> tuple[int, ...]:
    """Columns whose values a down has left alone: they tell rows apart where there is no key."""
    if now is None:
        return ()
    return tuple(
        n
        for n, column in shape.stored.items()
        if n in now.columns and now.columns[n].kind == column.kind and (shape.oid, n) not in copied
    )


def _same(shape: Shape, now: Shape, number: int) -> sql.Composable:
    return sql.SQL("{} = {}").format(
        _as_kept(shape, now, number), sql.Identifier("kept", shape.columns[number].name)
    )  # fmt: skip


def _as_kept(shape: Shape, now: Shape, number: int) -> sql.Composable:
    """The live value in the form in which a copy has it."""
    live = sql.Identifier("live", now.columns[number].name)
    return sql.SQL("{}::text").format(live) if shape.columns[number].foreign_type else live


def _names_now(conn: Connection, oid: int) -> Mapping[int, str]:
    """Columns by number: a down may have renamed them meanwhile."""
    rows = conn.execute(
        "SELECT attnum, attname::text FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped",
        {"oid": oid},
    )
    return {int(number): name for number, name in rows}


def _name_now(conn: Connection, oid: int) -> sql.Identifier:
    row = conn.execute(
        """
        SELECT nspname::text, relname::text
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE pg_class.oid = %(oid)s
        """,
        {"oid": oid},
    ).fetchone()
    assert row is not None
    return sql.Identifier(*row)


def _exists(conn: Connection, oid: int) -> bool:
    return conn.execute("SELECT FROM pg_class WHERE oid = %(oid)s", {"oid": oid}).fetchone() is not None


def _fitting(name: str) -> str:
    """At most 63 bytes; its number at the start keeps it unique."""
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")


@contextlib.contextmanager
def as_role(conn: Connection, role: str) -> Iterator[None]:
    """Act as that role; `none` is whoever logged in. Where the block raises, the transaction is over anyway."""
    row = conn.execute("SELECT current_setting('role')").fetchone()
    conn.execute("SELECT set_config('role', %(role)s, true)", {"role": role})
    yield
    conn.execute("SELECT set_config('role', %(role)s, true)", {"role": row[0] if row else SELF})


@contextlib.contextmanager
def pinned(conn: Connection) -> Iterator[None]:
    """Within it, values have one text, and a copy sees all rows or fails."""
    before = {}
    for name, value in PINS.items():
        row = conn.execute("SELECT current_setting(%(name)s)", {"name": name}).fetchone()
        before[name] = row[0] if row else value
        conn.execute("SELECT set_config(%(name)s, %(value)s, true)", {"name": name, "value": value})
    yield
    for name, value in before.items():
        conn.execute("SELECT set_config(%(name)s, %(value)s, true)", {"name": name, "value": value})

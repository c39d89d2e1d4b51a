"""Diagnosis of a half-applied migration: what of it is there, what finishes it or undoes it, and what to record then.

A state table that says 'dirty' does not say what is there. The schema does: the migration's statements are run one by
one on a scratch server, and the live catalog is held against the schema after each. What is proposed is tried on the
scratch server before it is shown. It reads the target and changes nothing there.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.adapters.postgres import Database
from toolkit.adapters.systems import Systems
from toolkit.errors import DatabaseError, RollbackError
from toolkit.progress import Advance, no_advance
from toolkit.rollback.building import become, runs_singly
from toolkit.rollback.groundwork import (
    Groundwork,
    build_alike,
    read_groundwork,
    signature_of,
    unmanaged_schemas,
    without,
)
from toolkit.rollback.half_applied import Found, Prefix, Verdict, find
from toolkit.rollback.inverse import changes
from toolkit.rollback.migrations import Migration, MigrationFolder, Script, read_folder
from toolkit.rollback.recording import Recording, recording
from toolkit.rollback.scratch import Scratch, scratch_server
from toolkit.rollback.sql_lexer import SqlError, cut
from toolkit.rollback.state_tables import read_recorded
from toolkit.verify.fingerprints import OWN_SCHEMA, SchemaSignature

READ_WITHIN_MS = 10_000
STATEMENTS_AT_MOST = 500


@dataclass(frozen=True)
class Diagnosis:
    """What is known of one migration. `finish` and `undo` are statements for one connection, each on its own, as the
    schema's owner; `finished` and `undone` say how to set the state table afterwards. `proved` are those of the two
    that were tried on a scratch server and led where they should. `left_rows` are changes of rows that `undo` leaves as
    they are. `problems` could not be built there."""

    version: int
    label: str
    name: str
    target: str
    dirty: bool
    finished: Recording
    undone: Recording
    verdict: Verdict = Verdict.UNKNOWN
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    finish: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    left_rows: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    proved: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, str]]:
        """A row for each object of the migration, and for what nobody can tell."""
        told = {
            "yes": self.present,
            "no": self.absent,
            "half": self.between,
            "unknown": (*self.unknown, *self.problems),
        }
        return [{"object": each, "there": answer} for answer, lines in told.items() for each in lines]

    def heading(self) -> str:
        """Markdown: one sentence, and what to do."""
        counts = f"Objects: {len(self.present)} there, {len(self.absent)} not there, {len(self.between)} half done"
        lines = [f"### Migration {self.label} ({self.name}) is {self.verdict}", ""]
        lines.append(
            f"{counts}." if self.verdict is not Verdict.UNKNOWN else f"{_joined(self.problems or self.unknown)}."
        )
        if self.unknown and self.verdict is not Verdict.UNKNOWN:
            lines += ["", f"Nobody can tell: {_joined(self.unknown)}."]
        if self.left_rows and self.verdict is not Verdict.UNKNOWN:
            lines += ["", f"Undoing it leaves rows as it made them: {_joined(self.left_rows)}."]
        lines += self._way("finish", "Finish it", self.finish, self.finished)
        lines += self._way("undo", "Undo it", self.undo, self.undone)
        return "\n".join(lines)

    def _way(self, way: str, title: str, statements: Sequence[str], then: Recording) -> list[str]:
        if self.verdict is Verdict.UNKNOWN:
            return []
        tried = "tried on a scratch server" if way in self.proved else "NOT proved on a scratch server"
        body = [
            f"{each.rstrip(';')};" if not each.startswith("--") else each for each in (*statements, *then.statements)
        ]
        nothing = "nothing to run" if way in self.proved else "no statement leads there whole"
        what = f"{len(statements)} statements, {tried}" if statements else f"{nothing}, {tried}"
        return ["", f"**{title}** ({what}; then {then.said}):", "", "```sql", *body, "```"]

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it. It holds the migration's own SQL, and no row."""
        lists = (
            "present",
            "absent",
            "between",
            "unknown",
            "finish",
            "undo",
            "drift",
            "left_rows",
            "problems",
            "proved",
        )
        told: dict[str, Any] = {"version": self.version, "label": self.label, "verdict": self.verdict.value}
        return told | {name: list(getattr(self, name)) for name in lists}


def diagnose(
    systems: Systems, version: int | None = None, *, scratch: Scratch | None = None, advance: Advance = no_advance
) -> Diagnosis:
    """How far a migration came: the one of that version, or without one the one that the state table names.

    Raises RollbackError where no state table or no such migration is found, and where its up cannot be read;
    DatabaseError when the database does not answer.
    """
    if scratch is None:
        advance("starting a scratch server", 0, None)
        with scratch_server(like=systems.database.identity()) as server:
            return diagnose(systems, version, scratch=server, advance=advance)
    folder = read_folder(systems.target.migrations)
    named = systems.playbook.database.state_table
    found, recorded = read_recorded(systems.database, named, folder)
    halted = [each for label in recorded.failed if (each := folder.named(label)) is not None]
    latest = halted[0].version if halted else recorded.version
    migration, script = _migration(folder, latest if version is None else version, systems.target.name)
    below = folder.before(migration.version)
    base = Diagnosis(
        version=migration.version,
        label=migration.label,
        name=migration.name,
        target=systems.target.name,
        dirty=recorded.dirty,
        finished=recording(found, folder, migration.version),
        undone=recording(found, folder, below, undone=migration),
    )
    schemas = [schema for schema in systems.playbook.database.schemas if schema != OWN_SCHEMA]
    with systems.database.reading(within_ms=READ_WITHIN_MS) as conn:
        ground = read_groundwork(conn, schemas, folder, named)
        live = signature_of(conn, ground)
    if live.server != scratch.major:
        said = f"the target is PostgreSQL {live.server}, the scratch server {scratch.major}: their catalogs differ"
        return replace(base, problems=(said,))
    return _Bench(scratch, ground, folder, below, advance).diagnosed(base, script, live)


class _Bench:
    """The scratch server, with the schema before the migration."""

    def __init__(
        self, scratch: Scratch, ground: Groundwork, folder: MigrationFolder, below: int | None, advance: Advance
    ) -> None:
        self._scratch, self._ground, self._folder, self._below = scratch, ground, folder, below
        self._before, self._advance = f"before_{secrets.token_hex(4)}", advance

    def diagnosed(self, base: Diagnosis, script: Script, live: SchemaSignature) -> Diagnosis:
        built = build_alike(self._scratch, self._ground, self._folder, self._below, self._before, advance=self._advance)
        if any(each.startswith("migration ") and "could not be built" in each for each in built.problems):
            return replace(base, problems=built.problems)
        before = self._signature(built.database)
        try:
            prefixes = self._prefixes(self._copy("stepwise"), script)
        except DatabaseError as error:
            said = f"migration {base.label} could not be run on the scratch server: {error.what}"
            return replace(base, problems=(*built.problems, said))
        last = prefixes[-1].after if prefixes else before
        aside = unmanaged_schemas(last, live, self._ground)
        found = find(before, prefixes, without(live, aside), atomic=not runs_singly(script))
        told = {name: getattr(found, name) for name in Found.__dataclass_fields__ if name != "extent"}
        return replace(base, **told, problems=built.problems, proved=self._proved(found, before, prefixes))

    def _prefixes(self, database: Database, script: Script) -> list[Prefix]:
        """Run the up statement by statement, and see the schema after each."""
        prefixes: list[Prefix] = []
        with database.singly(lock_within_ms=0) as conn:
            become(conn, self._ground.owner)
            pieces = list(cut(script.content.decode()))
            for count, (statement, text) in enumerate(pieces):
                self._advance("running its statements one by one", count, len(pieces))
                conn.execute(text.encode())
                with conn.transaction():
                    prefixes.append(Prefix(statement, text, signature_of(conn, self._ground)))
        return prefixes

    def _proved(self, found: Found, before: SchemaSignature, prefixes: Sequence[Prefix]) -> tuple[str, ...]:
        """Which of the two ways lead where they should, from a schema like the live one."""
        wanted = {"finish": (found.finish, prefixes[-1].after), "undo": (found.undo, before)} if prefixes else {}
        proved = []
        for count, (way, (statements, goal)) in enumerate(wanted.items()):
            self._advance("trying what finishes it and what undoes it", count, len(wanted))
            reached = self._tried(found, prefixes, statements)
            if reached is not None and not changes(goal, reached):
                proved.append(way)
        return tuple(proved)

    def _tried(self, found: Found, prefixes: Sequence[Prefix], statements: Sequence[str]) -> SchemaSignature | None:
        """The schema after these statements, run on one that is like the live one; None where they fail."""
        database = self._copy("tried")
        try:
            with database.singly(lock_within_ms=0) as conn:
                become(conn, self._ground.owner)
                for at in found.extent.ran if found.extent else ():
                    conn.execute(prefixes[at].text.encode())
                for statement in statements:
                    conn.execute(statement.encode())
        except DatabaseError:
            return None
        return self._signature(database)

    def _copy(self, what: str) -> Database:
        """A database with the schema before the migration."""
        return self._scratch.copied(self._before, f"{what}_{secrets.token_hex(4)}")

    def _signature(self, database: Database) -> SchemaSignature:
        with database.reading(within_ms=READ_WITHIN_MS) as conn:
            return signature_of(conn, self._ground)


def _migration(folder: MigrationFolder, version: int | None, target: str) -> tuple[Migration, Script]:
    migration = folder.migrations.get(version) if version is not None else None
    if migration is None or migration.up is None:
        what = "no migration is applied" if version is None else f"there is no up of migration {version}"
        raise RollbackError(
            f"There is nothing to diagnose: {what}",
            target=target,
            state="nothing was done",
            next=f"name one of {', '.join(map(str, folder.versions[-10:]))}",
        )
    try:
        count = len(migration.up.statements)
    except SqlError as error:
        raise RollbackError(f"The up of migration {version} is malformed: {error}", target=target) from None
    if migration.up.problem or count > STATEMENTS_AT_MOST:
        why = migration.up.problem or f"has {count} statements, more than can be tried one by one"
        raise RollbackError(f"The up of migration {version} {why}", target=target, state="nothing was done")
    return migration, migration.up


def _joined(lines: Sequence[str]) -> str:
    return "; ".join(lines) or "nothing is known"

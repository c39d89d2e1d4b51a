"""Going up as the migration tool does, on a scratch server: the schema that a folder of migrations makes.

Owns the way each up runs: its file in one transaction, singly where the server or its author wants that, as the
schema's owner. What cannot be built here (an extension that this server lacks, and what hangs on it) is told as a
problem and left out; anything else that fails ends the building. It never runs on a target.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import DatabaseError
from toolkit.progress import Advance, no_advance
from toolkit.rollback.down_sql import transaction_control
from toolkit.rollback.migrations import Migration, MigrationFolder, Script
from toolkit.rollback.sql_lexer import SqlError, Statement, cut

IN_TRANSACTION, NEW_LABEL, UNDEFINED_OBJECT, NO_RIGHT = "25001", "55P04", "42704", "42501"
_ROLE = re.compile(r'role "(?P<role>.+)" does not exist')
ROLES_AT_MOST = 50
GOLANG_MIGRATE = "golang-migrate"


@dataclass(frozen=True)
class Laid:
    """What of the groundwork is missing: `problems` is what something is known to hang on, `lacking` what nothing is
    known to, functions' bodies apart: they are only text."""

    problems: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


class Building:
    """Migrations run one after the other on one database. `problems` and `notes` grow."""

    def __init__(self, database: Database, owner: str, laid: Laid) -> None:
        self._database, self._owner = database, owner
        self._lacking = bool(laid.lacking)
        self.problems, self.notes = list(laid.problems), list(laid.lacking)

    def up(
        self, folder: MigrationFolder, above: int | None, version: int | None, advance: Advance = no_advance
    ) -> None:
        """Run the ups above `above` up to `version`, and write the state table. Stops at one that cannot be built."""
        wanted = [] if version is None else list(reversed(folder.between(above, version)))
        built: Migration | None = None
        for at, migration in enumerate(wanted):
            advance(f"building the schema of {version}", at, len(wanted))
            if wrong := self._apply(migration):
                later = f"; {', '.join(each.label for each in wanted[at + 1 :])} not tried" if wanted[at + 1 :] else ""
                self.problems.append(f"migration {migration.label} could not be built: {wrong}{later}")
                break
            built = migration
        if built is not None:
            self._record(folder, built)

    def _record(self, folder: MigrationFolder, migration: Migration) -> None:
        """Say so in the state table, where it is golang-migrate's: other tools make theirs in their own ways."""
        if folder.layout != GOLANG_MIGRATE:
            return
        with self._transaction() as conn:
            conn.execute(
                """
                CREATE TABLE IF NOT EXISTS public.schema_migrations (
                    version bigint NOT NULL PRIMARY KEY,
                    dirty   boolean NOT NULL
                )
                """
            )
            conn.execute("DELETE FROM public.schema_migrations")
            conn.execute(
                "INSERT INTO public.schema_migrations (version, dirty) VALUES (%(version)s, false)",
                {"version": migration.version},
            )

    def _apply(self, migration: Migration) -> str:
        """Why it could not be built; '' when it was, problems apart."""
        script = migration.up
        if script is None:
            return "it has no up"
        if script.problem:
            return f"its up {script.problem}"
        try:
            script.statements  # noqa: B018 - it raises for what no server would take
        except SqlError as error:
            return str(error)
        for _ in range(ROLES_AT_MOST):
            try:
                self.run(script)
                return ""
            except DatabaseError as error:
                if not self._create_role(error):
                    return self._leniently(migration, script, error)
        return "it names too many roles"

    def run(self, script: Script) -> None:
        """As the tool would. Raises DatabaseError; a file that runs in one transaction leaves nothing then."""
        if not runs_singly(script):
            try:
                with self._transaction() as conn:
                    conn.execute(script.content)
                return
            except DatabaseError as error:
                if error.sqlstate not in (IN_TRANSACTION, NEW_LABEL):
                    raise
        with self._database.singly(lock_within_ms=0) as conn:
            become(conn, self._owner)
            for _, text in cut(script.content.decode()):
                conn.execute(text.encode())

    def _leniently(self, migration: Migration, script: Script, failure: DatabaseError) -> str:
        """Statement by statement, without those that want what this server lacks. '' when it went on to the end."""
        if runs_singly(script):
            return failure.what
        with self._transaction() as conn:
            conn.execute("SAVEPOINT whole")
            for statement, text in cut(script.content.decode()):
                wrong = self._try(conn, statement, text)
                if wrong is None:
                    continue
                if not (self.problems or self._lacking or _is_extension(statement)):
                    conn.execute("ROLLBACK TO SAVEPOINT whole")
                    return wrong
                line = statement.line + script.first_line - 1
                self.problems.append(f"migration {migration.label}, line {line} ({_verb(statement)}): {wrong}")
        return ""

    def _try(self, conn: Connection, statement: Statement, text: str) -> str | None:
        """Run one statement in a savepoint; what the server said against it. Extensions may need a superuser."""
        wrong = _refusal(conn, text)
        if wrong is not None and _is_extension(statement) and self._owner:
            conn.execute("RESET ROLE")
            wrong = _refusal(conn, text)
            become(conn, self._owner)
        return wrong

    def _create_role(self, error: DatabaseError) -> bool:
        """Create the role that a statement missed. Whether that was what was wrong."""
        named = _ROLE.search(error.what)
        if error.sqlstate != UNDEFINED_OBJECT or named is None:
            return False
        with self._database.writing() as conn:
            role = sql.Identifier(named["role"])
            conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
            if self._owner:
                conn.execute(sql.SQL("GRANT {} TO {}").format(role, sql.Identifier(self._owner)))
        self.notes.append(f"role {named['role']} was created for it")
        return True

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._database.writing(lock_within_ms=0) as conn:
            become(conn, self._owner)
            yield conn


def run_script(database: Database, owner: str, script: Script) -> None:
    """A script on a database of our own, as the tool would run it. Raises DatabaseError; one that runs in one
    transaction leaves nothing then."""
    Building(database, owner, Laid()).run(script)


def become(conn: Connection, owner: str) -> None:
    """Act as that role from now on; '' leaves it as it is."""
    if owner:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))


def runs_singly(script: Script) -> bool:
    """Whether its statements run one by one: its author wants no transaction, it has its own, or the server refuses."""
    return not script.transactional or bool(script.alone) or bool(transaction_control(script.statements))


def _refusal(conn: Connection, text: str) -> str | None:
    """What the server says against a statement, which then has left nothing; None when it ran."""
    conn.execute("SAVEPOINT statement")
    try:
        conn.execute(text.encode())
    except Exception as error:  # the driver's own, which only its adapter may name
        primary = getattr(getattr(error, "diag", None), "message_primary", None)
        if primary is None:
            raise
        conn.execute("ROLLBACK TO SAVEPOINT statement")
        return str(primary)
    conn.execute("RELEASE SAVEPOINT statement")
    return None


def _is_extension(statement: Statement) -> bool:
    return statement.begins("create", "extension")


def _verb(statement: Statement) -> str:
    return " ".join(token.text.upper() for token in statement.tokens[:2] if token.is_name)

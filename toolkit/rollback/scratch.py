"""A PostgreSQL of our own to try things on: rehearsals, test restores, schemas built from their migrations.

Owns finding the programs of the target's major version, starting a server quickly (on a copy of a data folder that is
kept, empty, for each version), and clearing what is left of processes that died. It ends with the process that started
it. What it cannot build it names (`Built.problems`): that is unknown, never passed. It never touches a target.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import Connection, Database, ServerIdentity, sql
from toolkit.errors import DatabaseError
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.playbook import pg_bindir
from toolkit.progress import Advance, no_advance
from toolkit.redaction import keep_secret
from toolkit.rollback.backup.left_out import Extension, bring_back
from toolkit.rollback.backup.manifest import DATABASE_FOLDER, read_manifest
from toolkit.rollback.building import Building, Laid
from toolkit.rollback.migrations import MigrationFolder
from toolkit.server import SETTINGS, SUPERUSER, Binaries, PostgresServer, find_binaries

JOBS = 2
RESTORED_BYTES_PER_S = 20e6  # of a dump, with its indexes, on two cores: a cautious figure
ENDED_WITHIN_S = 10.0
_FOLDER, _TEMPLATE, _LOCK, _OWNER, _SECRET = "scratch-", "scratch-template-", "scratch.lock", "owner", "secret"
_MAINTENANCE = "template1"  # `postgres` may be the name of the database that is to be copied

# Nothing here must survive anything, and nobody replicates from it.
FASTER: Mapping[str, str] = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "'4GB'",
    "synchronous_commit": "off",
    "maintenance_work_mem": "'256MB'",
}
# Where an installed PostgreSQL of a major version usually is, on Debian, Red Hat, macOS.
_INSTALLED = (
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
    "/Applications/Postgres.app/Contents/Versions/{}/bin",
)


@dataclass(frozen=True)
class Built:
    """A database on the scratch server. `problems` are objects that could not be built, a line each: what is asked of
    them is unknown. `notes` is what differs without being in the way. `seconds` is how long it took."""

    database: Database
    problems: tuple[str, ...]
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scratch:
    """A running scratch server. `same_major`: it is of the major version that was asked for."""

    server: PostgresServer
    major: int
    same_major: bool

    def database(self, name: str) -> Database:
        """One of its databases, as its superuser."""
        return Database(SecretStr(self.server.url(database=name)), target="scratch", application_name="toolkit-scratch")

    def empty(self, name: str, *, roles: Sequence[str] = (), owner: str = "") -> Database:
        """An empty database of that name, instead of what was there before.

        The roles and the owner are created without a login where they are missing. The owner has the database and the
        schema `public`, and is a member of the roles.
        """
        with self.database(_MAINTENANCE).singly() as conn:
            ensure_roles(conn, [*roles, *([owner] if owner else [])], member=owner)
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(owner or SUPERUSER)
                )
            )
        database = self.database(name)
        if owner:
            with database.writing() as conn:
                conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner)))
        return database

    def restored(self, backup_folder: Path, name: str = "restored", *, advance: Advance | None = None) -> Built:
        """One of our backups, restored: rows, owners, grants, and the extensions that its objects hang on.

        Raises BackupError when the folder is no backup or its archive cannot be read to its end.
        """
        began = time.monotonic()
        manifest, _ = read_manifest(backup_folder)
        database = self.empty(name, roles=manifest.roles)
        missing, notes, made = self._extend(database, manifest.extensions)
        refused = self._tools_for(manifest.pg_dump).restore(
            database, backup_folder / DATABASE_FOLDER, jobs=JOBS, no_tablespaces=True, advance=advance
        )
        known = [f'schema "{schema}" already exists' for schema in made]
        refused = [each for each in refused if not each.endswith(tuple(known) or ("\0",))]
        with database.writing() as conn:
            there = {name for (name,) in conn.execute("SELECT nspname FROM pg_namespace").fetchall()}
            bring_back(conn, [each for each in manifest.rights if each.schema in there])
        return Built(database, (*missing, *refused), time.monotonic() - began, tuple(notes))

    def built(
        self,
        folder: MigrationFolder,
        version: int | None,
        name: str,
        *,
        roles: Sequence[str] = (),
        owner: str = "",
        prepare: Callable[[Database], Laid] | None = None,
        advance: Advance = no_advance,
    ) -> Built:
        """The schema that the ups from the first to `version` (None: none of them) make, run as the tool runs them.

        `prepare` makes what the migrations expect to find, and returns what it could not make.
        """
        began = time.monotonic()
        database = self.empty(name, roles=roles, owner=owner)
        building = Building(database, owner, prepare(database) if prepare else Laid())
        building.up(folder, None, version, advance)
        return Built(database, tuple(building.problems), time.monotonic() - began, tuple(building.notes))

    def further(
        self, built: Built, folder: MigrationFolder, above: int | None, version: int, *, owner: str = ""
    ) -> Built:
        """The same database after the ups above `above` up to `version` as well."""
        began = time.monotonic()
        building = Building(built.database, owner, Laid(built.problems, built.notes))
        building.up(folder, above, version)
        seconds = built.seconds + time.monotonic() - began
        return Built(built.database, tuple(building.problems), seconds, tuple(building.notes))

    def copied(self, source: str, name: str) -> Database:
        """A copy of one of its databases, in which nobody is just now; quicker than building it again."""
        with self.database(_MAINTENANCE).singly() as conn:
            conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source)))
        return self.database(name)

    def _extend(self, database: Database, wanted: Sequence[Extension]) -> tuple[list[str], list[str], list[str]]:
        """Create extensions. What is missing, what differs, and the schemas that had to be made for them."""
        missing: list[str] = []
        notes: list[str] = []
        made: list[str] = []
        for each in wanted:
            try:
                with database.writing() as conn:
                    made += create_extension(conn, each.name, each.schema)
            except DatabaseError as error:
                (missing if each.needed else notes).append(f"extension {each.name}: {error.what}")
        return missing, notes, made

    def _tools_for(self, pg_dump: str) -> PgTools:
        """Programs that read what that pg_dump wrote: those of this server, where they are not older."""
        if major_of(pg_dump) <= self.major:
            return PgTools(self.server.binaries)
        return PgTools.found(pg_bindir())


@contextmanager
def scratch_server(like: ServerIdentity | None = None) -> Iterator[Scratch]:
    """A scratch server of the same major version as `like`, where one is to be had; gone afterwards.

    Raises DatabaseError when it does not start, UsageError when no PostgreSQL is installed.
    """
    wanted = None if like is None else major_of(like.version)
    binaries, major = _programs(wanted)
    lifeline = Lifeline.create()
    try:
        with _own_folder() as home:
            server = _start(home, lifeline, binaries)
            try:
                yield Scratch(server, major, wanted in (None, major))
            finally:
                with contextlib.suppress(DatabaseError):  # it is killed then
                    server.stop(immediately=True)
    finally:
        lifeline.cut()
        os.close(lifeline.reading)


def restoring_s(size: int) -> float:
    """How long restoring a dump of so many bytes may take, in seconds."""
    return 3.0 + size / RESTORED_BYTES_PER_S


def major_of(version: str) -> int:
    """18 of '18.6', '18beta1' or '18.6 (Debian …)'."""
    found = re.match(r"\d+", version)
    if found is None:
        raise DatabaseError(f"{version!r} is no version of PostgreSQL")
    return int(found[0])


def ensure_roles(conn: Connection, roles: Sequence[str], *, member: str = "") -> None:
    """Create what is missing of these roles, without a login, and make `member` one of each. Reserved names apart."""
    there = {name for (name,) in conn.execute("SELECT rolname FROM pg_roles").fetchall()}
    for role in dict.fromkeys(roles):
        if role not in there and not role.startswith("pg_") and role.upper() != "PUBLIC":
            conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    for role in dict.fromkeys(roles):
        if member not in ("", role, SUPERUSER) and role != SUPERUSER:
            conn.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member)))


def create_extension(conn: Connection, name: str, schema: str) -> list[str]:
    """Create an extension, with those that it needs, in a schema. The schema's name where that had to be made too."""
    there = conn.execute("SELECT FROM pg_namespace WHERE nspname = %(name)s", {"name": schema}).fetchone()
    if there is None:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    conn.execute(
        sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE").format(
            sql.Identifier(name), sql.Identifier(schema)
        )
    )
    return [] if there is not None else [schema]


def _programs(wanted: int | None) -> tuple[Binaries, int]:
    """Of the wanted major version: PG_BINDIR_<major>, PG_BINDIR, the embedded one, what is installed. Otherwise the
    first of PG_BINDIR and the embedded one."""
    first = find_binaries(pg_bindir())
    if wanted is None or (major := major_of(first.version())) == wanted:
        return first, major_of(first.version())
    named = pg_bindir(major=wanted)
    installed = [Path(place.format(wanted)) for place in _INSTALLED]
    for bindir in [named, None, *installed] if named else [None, *installed]:
        if bindir is not None and not (bindir / "initdb").exists():
            continue
        found = find_binaries(bindir)
        if major_of(found.version()) == wanted:
            return found, wanted
    return first, major


# A server in a third of a second: on a copy of an empty data folder that is kept for each version ---------------------


def _start(home: Path, lifeline: Lifeline, binaries: Binaries) -> PostgresServer:
    template, password = _template(binaries)
    try:
        server = PostgresServer.on_copy(home, lifeline, template, password, binaries, temporary=True)
    except (DatabaseError, OSError):  # somebody cleared a part of it away
        with _locked():
            shutil.rmtree(template.parent, ignore_errors=True)
        shutil.rmtree(home / "pgdata", ignore_errors=True)
        template, password = _template(binaries)
        server = PostgresServer.on_copy(home, lifeline, template, password, binaries, temporary=True)
    _change_password(server)
    return server


def _change_password(server: PostgresServer) -> None:
    """To one of its own: the template's stands on the disk."""
    fresh = secrets.token_urlsafe(24)
    keep_secret(fresh)
    with Database(SecretStr(server.url()), target="scratch").writing() as conn:
        conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(SUPERUSER), sql.Literal(fresh)))
    server.superuser_password = fresh


def _template(binaries: Binaries) -> tuple[Path, str]:
    """The data folder to copy, and its superuser's password. Made where it is missing, by one process at a time."""
    settings = {**FASTER, **({} if _has_statistics(binaries) else {"shared_preload_libraries": "''"})}
    marks = json.dumps([str(binaries.bindir), binaries.run_as, dict(SETTINGS), settings])
    stamp = hashlib.sha256(marks.encode()).hexdigest()[:8]
    home = runtime_home() / f"{_TEMPLATE}{binaries.version()}-{stamp}"
    with _locked():
        if not (home / _SECRET).exists():
            _make_template(home, binaries, settings)
        return home / "pgdata", (home / _SECRET).read_text()


def _make_template(home: Path, binaries: Binaries, settings: Mapping[str, str]) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=f"{_TEMPLATE}new-", dir=runtime_home()))
    fresh.chmod(0o711)
    lifeline = Lifeline.create()
    try:
        server = PostgresServer.create(fresh, lifeline, bindir=binaries.bindir, settings=settings)
        server.stop()
        secret = fresh / _SECRET
        secret.touch(mode=0o600)
        secret.write_text(server.superuser_password)
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    finally:
        lifeline.cut()
        os.close(lifeline.reading)
        shutil.rmtree(fresh, ignore_errors=True)


def _has_statistics(binaries: Binaries) -> bool:
    """Whether pg_stat_statements is there: an installation may lack the contributed modules."""
    home = binaries.bindir.parent
    return any(home.glob("lib*/**/pg_stat_statements.*")) or any(home.glob("share/**/pg_stat_statements.control"))


# Folders, and what is left of the dead -------------------------------------------------------------------------------


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder that is known to be ours as long as this process lives; gone afterwards."""
    with _locked():
        _clear_leftovers()
        home = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=runtime_home()))
        home.chmod(0o711)
        owner = os.open(home / _OWNER, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os.close(owner)


def _clear_leftovers() -> None:
    """Remove the folders whose process is dead, once their server has ended too."""
    for home in runtime_home().glob(f"{_FOLDER}*"):
        if home.name.startswith(_TEMPLATE):
            if home.name.startswith(f"{_TEMPLATE}new-"):  # whoever made it held the lock that we hold
                shutil.rmtree(home, ignore_errors=True)
        elif not _lives(home):
            shutil.rmtree(home, ignore_errors=True)


def _lives(home: Path) -> bool:
    """Whether the process that made this folder lives, or its server does still."""
    with contextlib.suppress(OSError), (home / _OWNER).open("rb") as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    with contextlib.suppress(OSError, ValueError, IndexError):
        os.kill(int((home / "pgdata" / "postmaster.pid").read_text().splitlines()[0]), 0)
        return True
    return False


@contextmanager
def _locked() -> Iterator[None]:
    """One process at a time makes or clears folders."""
    with (runtime_home() / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""pg_dump, pg_restore and psql as programs: how they are started, bounded and ended.

The password reaches them by libpq's environment variables only, and no other secret of this process does; arguments can
be read by anybody on the machine. Each ends with the process that began it, however that one ends. What they say
is read in `pgtools_words`.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from toolkit.adapters.pgtools_words import Contents, RestoreWords, complaint, is_no_lock
from toolkit.adapters.plain_dump import PlainDump, knows_restrict
from toolkit.adapters.postgres import Database
from toolkit.errors import BackupError, ToolkitError
from toolkit.lifeline import Lifeline, spawn
from toolkit.progress import Advance, no_advance
from toolkit.server import Binaries, find_binaries

LIST_WITHIN_S = 60.0
RESTORE_WITHIN_S = 6 * 3600.0
END_WITHIN_S = 5.0
LOOK_EVERY_S = 0.1
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


class PgTools:
    """The programs of one installation."""

    def __init__(self, binaries: Binaries) -> None:
        self.binaries = binaries

    @classmethod
    def found(cls, bindir: Path | None) -> Self:
        """Those in `bindir`, or the embedded ones."""
        return cls(find_binaries(bindir))

    def version(self, program: str = "pg_dump") -> str:
        """Of one program, such as '18.6'. BackupError when it cannot be run; UsageError when it is not there."""
        said = _run([self.binaries.program(program), "--version"], program, {}, LIST_WITHIN_S)
        return said.split()[2]

    def dump(
        self,
        database: Database,
        folder: Path,
        *,
        schemas: Sequence[str],
        snapshot: str,
        jobs: int,
        compression: int,
        lock_within_ms: int,
        rows: bool = True,
    ) -> "Dump":
        """Begin to dump these schemas into `folder`, which must not exist. Ends with this process at the latest.

        Without `rows` it holds their definitions only.
        """
        words: list[str | Path] = ["--format=directory", f"--jobs={jobs}", f"--compress={compression}", "--no-password"]
        words += [f"--schema={_pattern(schema)}" for schema in schemas]
        words += ["--strict-names", f"--snapshot={snapshot}", f"--lock-wait-timeout={lock_within_ms}"]
        words += [*([] if rows else ["--schema-only"]), "--file", folder.resolve()]
        return Dump([self.binaries.program("pg_dump"), *words], database.libpq())

    def contents(self, archive: Path) -> Contents:
        """What pg_restore reads in an archive's table of contents. BackupError when it cannot be read."""
        return Contents.read(self.listing(archive))

    def listing(self, archive: Path) -> str:
        """An archive's table of contents in pg_restore's words, versions and time among them. Raises as `contents`."""
        return self._told_by_restore("--list", archive)

    def read_through(self, archive: Path, within_s: float, *, advance: Advance = no_advance) -> None:
        """Read all rows of an archive and give them to nobody. BackupError when it breaks off somewhere.

        pg_restore reads on for ever in a tar that was cut at the wrong place: hence the bound. `advance` hears how many
        entries are read.
        """
        reading, said = RestoreWords(self.contents(archive), None), list[str]()
        words: list[str | Path] = ["--verbose", "--file=/dev/null", archive.resolve()]
        with Running([self.binaries.program("pg_restore"), *words], {}) as running:

            def look(more: str) -> None:
                said.append(more)
                reading.take(more)
                advance("reading the archive", *reading.far)

            code = running.follow(look, within_s, "pg_restore")
        if code:
            raise BackupError(f"pg_restore failed: {complaint(''.join(said), code)}")

    def definitions(self, archive: Path) -> str:
        """The SQL of all that an archive creates, owners and grants too, without its rows. Raises as `contents`."""
        return self._told_by_restore("--schema-only", "--file=-", archive)

    def restore(
        self,
        database: Database,
        archive: Path,
        *,
        jobs: int = 2,
        sections: Sequence[str] = (),
        schemas: Sequence[str] = (),
        create: bool = False,
        no_owner: bool = False,
        no_acl: bool = False,
        no_tablespaces: bool = False,
        exit_on_error: bool = False,
        within_s: float = RESTORE_WITHIN_S,
        advance: Advance | None = None,
    ) -> list[str]:
        """Restore an archive (directory, custom or tar) into a database; what the server refused, a line each.

        `sections` are of pre-data, data and post-data, `schemas` names whose content is wanted (without the schemas
        themselves). `create` makes the archive's own database, from this connection. A tar is read by one job.
        `no_tablespaces` puts all of it where the server puts things: one of our own has no other place. `advance`
        hears how much is in: bytes of a directory's files, entries of another archive.
        Raises BackupError for an archive that cannot be read, for an end before the end, for one that takes longer than
        `within_s` and, with `exit_on_error`, at the first refusal.
        """
        reading = RestoreWords(self.contents(archive), archive if archive.is_dir() else None, schemas, sections)
        words = [f"--jobs={jobs}"] if archive.is_dir() or _is_custom(archive) else []
        words += [f"--section={section}" for section in sections] + [f"--schema={schema}" for schema in schemas]
        given = {"--create": create, "--no-owner": no_owner, "--no-privileges": no_acl}
        given["--no-tablespaces"] = no_tablespaces
        words += [word for word, wanted in given.items() if wanted]
        words += ["--verbose", "--no-password", f"--dbname={_database_name(database)}"]
        with Running([self.binaries.program("pg_restore"), *words, archive.resolve()], database.libpq()) as running:

            def look(said: str) -> None:
                reading.take(said)
                if exit_on_error and reading.refused:
                    raise BackupError(f"pg_restore was refused: {reading.refused[0]}", state="it was ended there")
                if advance is not None:
                    advance("restoring", *reading.far)

            code = running.follow(look, within_s, "pg_restore")
        return reading.outcome(code)

    def run_sql_file(
        self,
        database: Database,
        file: Path,
        *,
        server_major: int,
        single_transaction: bool = False,
        within_s: float = RESTORE_WITHIN_S,
        advance: Advance | None = None,
    ) -> list[str]:
        """Run a plain dump (also one packed by gzip) through psql, which stops at the first error.

        The dump's own meta-commands are refused. Returns what was left out of it because that server does not know it,
        a line each. Raises BackupError with the first complaint; without `single_transaction`, what ran before stays.
        """
        text = PlainDump(file, server_major, restricts=knows_restrict(self.version("psql")))
        words = ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=-"]
        words += ["--single-transaction"] if single_transaction else []
        argv: list[str | Path] = [self.binaries.program("psql"), *words, f"--dbname={_database_name(database)}"]
        said: list[str] = []
        with Running(argv, database.libpq(), feed=text.feed()) as running:

            def look(more: str) -> None:
                said.append(more)
                if advance is not None:
                    advance("loading", *text.far)

            code = running.follow(look, within_s, "psql")
        if code:
            raise BackupError(f"psql stopped: {complaint(''.join(said), code)}")
        return text.left_out

    def _told_by_restore(self, *words: str | Path) -> str:
        return _run([self.binaries.program("pg_restore"), *words], "pg_restore", {}, LIST_WITHIN_S)


class Running:
    """A program that is running. Use as a context manager: what leads out of it early ends the program.

    `feed` is what it reads, in pieces.
    """

    def __init__(
        self, argv: Sequence[str | Path], libpq: Mapping[str, str], *, feed: Iterable[bytes] | None = None
    ) -> None:
        self._lifeline = Lifeline.create()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the program
        self._read = 0
        self._process = spawn(
            [sys.executable, "-m", "toolkit.lifeline", "SIGTERM", *argv],
            lifeline=self._lifeline,
            env=_environment(libpq),
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
            stdout=self._words,
            stderr=self._words,
        )
        self._feeding = Feeding(self._process.stdin, feed) if feed is not None and self._process.stdin else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lifeline.cut()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._feeding is not None:
            self._feeding.end()
        os.close(self._lifeline.reading)
        self._words.close()

    def follow(self, look: Callable[[str], None], within_s: float, program: str) -> int:
        """Until it ends; its exit code. `look` is given what it said since the last time, a few times a second.

        BackupError when it takes longer than `within_s`, and when what it was fed could not be read.
        """
        deadline = time.monotonic() + within_s
        while True:
            try:
                code = self._process.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                if self._feeding is not None:
                    self._feeding.require()
                if time.monotonic() > deadline:
                    raise BackupError(f"{program} was not done in {within_s:g} s", state="it was ended") from None
                look(self._said())
                continue
            look(self._said())
            return code

    def _said(self) -> str:
        """What it said since the last time. By position, for the program writes at the file's own."""
        pieces = []
        while more := os.pread(self._words.fileno(), 1 << 16, self._read):
            self._read += len(more)
            pieces.append(more)
        return b"".join(pieces).decode(errors="replace")


class Feeding(threading.Thread):
    """Writes what a program reads, from a thread: the program may end at any time, and then nobody reads.

    When the source fails in the middle the end is not told to the program: psql would commit what it has got.
    """

    def __init__(self, into: IO[bytes], pieces: Iterable[bytes]) -> None:
        super().__init__(daemon=True)
        self._into, self._pieces = into, pieces
        self._error: ToolkitError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._into.writelines(self._pieces)
            self._into.close()
        except ToolkitError as error:
            self._error = error
        except OSError:
            pass  # it ended: its own words say why

    def require(self) -> None:
        """BackupError when what was to be fed could not be read."""
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Once the program has ended. Nothing is left open."""
        self.join(END_WITHIN_S)
        with contextlib.suppress(OSError):
            self._into.close()


class Dump(Running):
    """A dump that is being made."""

    def wait(self, within_s: float) -> None:
        """Until it is whole. Raises LockedOut when a lock could not be had, BackupError for every other end."""
        said: list[str] = []
        if code := self.follow(said.append, within_s, "pg_dump"):
            words = "".join(said)
            raise (LockedOut if is_no_lock(words) else BackupError)(f"pg_dump failed: {complaint(words, code)}")


class LockedOut(BackupError):
    """A dump ended because somebody waits for, or holds, an exclusive lock on a table."""


def _run(argv: Sequence[str | Path], program: str, more: Mapping[str, str], within_s: float) -> str:
    try:
        done = subprocess.run(
            argv, env=_environment(more), capture_output=True, text=True, timeout=within_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackupError(f"{program} could not be run: {type(error).__name__}") from None
    if done.returncode:
        raise BackupError(f"{program} failed: {complaint(done.stderr, done.returncode)}")
    return done.stdout


def _environment(libpq: Mapping[str, str]) -> dict[str, str]:
    """What the programs need and nothing else: no token, no URL, and libpq's variables from here only."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("PGSSL")}
    ours = {"PGAPPNAME": "toolkit-backup", "LC_MESSAGES": "C"}
    return kept | {"PGCONNECT_TIMEOUT": "5"} | dict(libpq) | ours


def _database_name(database: Database) -> str:
    """The database as a connection string that holds nothing else: a bare name could be read as one."""
    libpq = database.libpq()
    name = libpq.get("PGDATABASE") or libpq.get("PGUSER") or "postgres"
    escaped = re.sub(r"(['\\])", r"\\\1", name)
    return f"dbname='{escaped}'"


def _is_custom(archive: Path) -> bool:
    try:
        with archive.open("rb") as file:
            return file.read(5) == b"PGDMP"
    except OSError:
        return False


def _pattern(name: str) -> str:
    """A schema's name as pg_dump's patterns take it literally."""
    return '"' + name.replace('"', '""') + '"'

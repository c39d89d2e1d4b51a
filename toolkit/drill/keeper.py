"""The keeper of one sandbox: a process that starts all of its parts in order, watches them, and clears everything away.

    owner (a drill, or nobody) ──► keeper ──► PostgreSQL · platform ──► deployments · senders · monitor

An attached keeper ends when its owner does, by a closed pipe. A detached one does so, too, while it comes up; then its
starter lets it go, and it ends when it is told. All its children are on its lifeline, so that `kill -9` of the keeper
ends them too; the folder that it then leaves is cleared by the next start of any sandbox.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from toolkit.clock import iso, utc_now, wait_until
from toolkit.drill.cloning import clone
from toolkit.drill.database import ROLES, ServiceDatabase, create_database, create_roles
from toolkit.drill.given import GivenServer
from toolkit.drill.ledger import record_baseline
from toolkit.drill.schema import MIGRATIONS, migrate_up, seed
from toolkit.drill.service.builds import NEWEST, OLDEST
from toolkit.drill.small_disk import release
from toolkit.drill.state import EDGE_CONFIG, SandboxOptions, SandboxState, last_words, write_private
from toolkit.errors import ToolkitError
from toolkit.incident import JOURNAL_FILE
from toolkit.lifeline import VARIABLE, Lifeline, spawn, tie
from toolkit.playbook import database_url, pg_bindir
from toolkit.redaction import redact
from toolkit.server import PostgresServer, find_binaries

BUILDS, LIVE_VERSION = range(OLDEST, NEWEST + 1), 8
PLATFORM_WITHIN_S = 30.0
ONE_ANSWER_WITHIN_S = 2.0
MONITOR_WITHIN_S = 30.0
END_WITHIN_S = 8.0
CLEARED_WITHIN_S = 50.0  # for every part, the server and the folder; on a busy machine that takes a while
SUPERVISED_EVERY_S = 0.2
PROJECT, TEAM = "prj_churn_saver", "team_churn_saver"
# the drill ends the first two; a fault's sessions are ended by whoever mends it
ORDERLY: Mapping[str, tuple[int, ...]] = {"senders": (0,), "monitor": (0, -signal.SIGTERM), "held": (0,)}


class Keeper:
    """Starts, watches and ends one sandbox. `say` tells the owner how far it is."""

    def __init__(self, home: Path, options: SandboxOptions) -> None:
        self.home, self.options = home, options
        self.lifeline = Lifeline.create()
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.server: PostgresServer | GivenServer | None = None
        self.state: SandboxState | None = None

    def start(self) -> SandboxState:
        """Everything up, seeded, answering; traffic last."""
        database = self._database()
        say("service and platform")
        state = self._start_platform(database)
        state.write(self.home)
        write_private(self.home / "environment", "".join(f"{k}={v}\n" for k, v in state.environment().items()))
        self._back_up(database)
        if self.options.traffic:
            say("traffic")
            self._start_senders(state)
            state.write(self.home)
        if self.options.monitor:
            say("monitor")
            state.monitor_pid = self._start_monitor(state)
            state.write(self.home)
        self.state = state
        return state

    def _given_server(self) -> GivenServer:
        given = GivenServer(database_url(self.options.database_url_env), self.home)
        given.prepare(ROLES)
        return given

    def _database(self) -> ServiceDatabase:
        """A server with the service's rows in it, and the folder of its migrations."""
        shutil.copytree(MIGRATIONS, self.home / "migrations")
        say("PostgreSQL")
        if self.options.cloned:
            database = clone(self.home / "postgres", self.lifeline, self.options, self._fill)
            self.server = database.server
            return database
        if self.options.database_url_env:
            self.server = given = self._given_server()
            database = create_database(given, create_roles(given, given.mark), given.database_name)
        else:
            self.server = PostgresServer.create(self.home / "postgres", self.lifeline, bindir=pg_bindir())
            database = create_database(self.server, create_roles(self.server))
        say("schema and data")
        self._fill(database)
        return database

    def _fill(self, database: ServiceDatabase) -> None:
        with psycopg.connect(database.owner_url) as conn:
            migrate_up(conn, LIVE_VERSION)
            seed(conn, seed=self.options.seed, events=self.options.events, cases=self.options.cases)
        with psycopg.connect(database.admin_url, autocommit=True) as conn:
            conn.execute("ANALYZE")

    def _start_platform(self, database: ServiceDatabase) -> SandboxState:
        api, production = _listener(), _listener()
        api_url, production_url = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (api, production))
        webhook_secret, cron_secret = secrets.token_hex(24), secrets.token_hex(24)
        reading = secrets.token_hex(20)
        state = SandboxState.of_keeper(
            self.home.name.removeprefix("sandbox-"),
            self.options,
            database_url=database.toolkit_url,
            owner_url=database.owner_url,
            admin_url=database.admin_url,
            service_url=production_url,
            vercel_api_url=api_url,
            vercel_token=secrets.token_hex(20),
            vercel_project=PROJECT,
            vercel_team=TEAM,
            webhook_secret=webhook_secret,
            cron_secret=cron_secret,
            postgres_log=str(self.server.log if self.server else ""),
            migrations=self.home / "migrations",
            backups=self.home / "nightly",
            statement_log=self.home / "statements",
        )
        config = {
            "project_id": PROJECT,
            "project_name": "churn-saver",
            "team_id": TEAM,
            "token": state.vercel_token,
            "api_fd": api.fileno(),
            "production_fd": production.fileno(),
            "api_url": api_url,
            "production_url": production_url,
            "service_log": str(self.options.evidence / "service.log"),
            "environment": {
                "WHOP_WEBHOOK_SECRET": webhook_secret,
                "CRON_SECRET": cron_secret,
                "PROCESSING_ENABLED": "true",
                "SCHEDULER_ENABLED": "true",
                "STATEMENT_LOG": str(state.statement_log),
                "EDGE_CONFIG": f"{api_url}/{EDGE_CONFIG}?token={reading}",
            },
            "edge_config": EDGE_CONFIG,
            "edge_config_token": reading,
            "builds": list(BUILDS),
            "database_url": database.admin_url,
            "role_mark": database.server.mark if isinstance(database.server, GivenServer) else "",
            "past_builds": [6, 7, 8],
        }
        fds = (api.fileno(), production.fileno())
        self._spawn("platform", "toolkit.drill.platform", config, fds)
        self._wait_for_service(production.getsockname()[1])
        return state

    def _wait_for_service(self, port: int) -> None:
        def answers() -> bool:
            if trouble := self._trouble():
                raise ToolkitError(trouble)
            at = ("127.0.0.1", port)  # taken by us: a platform that died still lets itself be connected to
            with contextlib.suppress(OSError), socket.create_connection(at, timeout=ONE_ANSWER_WITHIN_S) as line:
                line.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return line.recv(12).startswith(b"HTTP/1.1 200")
            return False

        wait_until(answers, within=PLATFORM_WITHIN_S, what="the service to answer")

    def _back_up(self, database: ServiceDatabase) -> None:
        """The nightly backup that production has: custom format, made before anything went wrong."""
        folder = self.home / "nightly"
        folder.mkdir(mode=0o700)
        parts = conninfo_to_dict(database.admin_url)
        environment = dict(os.environ) | {"PGPASSWORD": str(parts.pop("password", ""))}  # never among the arguments
        argv: list[str | Path] = [
            find_binaries(pg_bindir()).program("pg_dump"),
            "-Fc",
            "-Z1",
            "-d",
            make_conninfo("", **parts),
        ]
        argv += ["-f", folder / f"{iso(utc_now())[:19].replace(':', '')}Z.dump"]
        subprocess.run(argv, env=environment, check=True)

    def _start_senders(self, state: SandboxState) -> None:
        ledger = self.options.evidence / "ledger.sqlite"
        with psycopg.connect(state.admin_url) as conn:
            record_baseline(ledger, conn)
        config = {
            "service_url": state.service_url,
            "webhook_secret_env": "WHOP_WEBHOOK_SECRET",
            "cron_secret_env": "CRON_SECRET",
            "ledger": str(ledger),
            "seed": self.options.seed,
            "webhooks_per_s": self.options.webhooks_per_s,
            "reads_per_s": self.options.reads_per_s,
            "cron_every_s": self.options.cron_every_s,
            "companies": 20,
        }
        secret = {"WHOP_WEBHOOK_SECRET": state.webhook_secret, "CRON_SECRET": state.cron_secret}
        state.senders_pid = self._spawn("senders", "toolkit.drill.senders", config, (), secret).pid

    def _start_monitor(self, state: SandboxState) -> int:
        """It gets what production's would get: the target's variables, and a folder for the incident it may open.

        Returns its process id once it watches. Raises ToolkitError when it does not come to that.
        """
        argv = [sys.executable, "-m", "toolkit.detect.monitor", "--folder", str(self.options.evidence)]
        argv += ["--target", "sandbox"]
        with (self.home / "monitor.log").open("ab") as log:
            env = dict(os.environ) | state.environment()
            child = self.children["monitor"] = spawn(argv, lifeline=self.lifeline, env=env, stdout=log, stderr=log)

        def watches() -> bool:
            if trouble := self._trouble():
                raise ToolkitError(trouble)
            return (self.options.evidence / JOURNAL_FILE).exists()

        wait_until(watches, within=MONITOR_WITHIN_S, what="the monitor to watch")
        return child.pid

    def _start_holder(self, held: Path) -> None:
        """Whoever holds sessions that a fault has opened; it ends by itself when somebody ends one of them."""
        argv = [sys.executable, "-m", "toolkit.drill.faults.sessions", str(held)]
        with held.with_suffix(".log").open("ab") as log:
            self.children[held.stem] = spawn(argv, lifeline=self.lifeline, stdout=log, stderr=log)

    def _spawn(
        self,
        name: str,
        module: str,
        config: Mapping[str, Any],
        fds: tuple[int, ...],
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.Popen[bytes]":
        path = self.home / f"{name}.json"
        write_private(path, json.dumps(config))
        with (self.home / f"{name}.log").open("ab") as log:
            argv = [sys.executable, "-m", module, str(path)]
            env = dict(os.environ) | dict(environment or {})
            child = spawn(argv, lifeline=self.lifeline, env=env, pass_fds=fds, stdout=log, stderr=log)
        self.children[name] = child
        return child

    def supervise(self) -> None:
        """Start PostgreSQL again when it died, as whoever runs it in production does. It may take several tries.

        Another part that died is not started again: the state tells of it, with its last words.
        """
        if self.state is not None and self.state.trouble is None and (trouble := self._trouble()):
            self.state.trouble = trouble
            self.state.write(self.home)
        for held in self.home.glob("held-*.json"):
            if held.stem not in self.children:
                self._start_holder(held)
        if self.server is not None and not self.server.running:
            with contextlib.suppress(ToolkitError):
                self.server.start()

    def _trouble(self) -> str | None:
        """The first part that ended and should not have; its log dies with the sandbox, so its last words are kept."""
        for name, child in self.children.items():
            code = child.poll()
            if code is not None and code not in ORDERLY.get(name.partition("-")[0], ()):
                return f"The sandbox's {name} ended with {code}: {last_words(self.home / f'{name}.log')}"
        return None

    def end(self) -> None:
        """Stop every part and remove the folder. Safe to repeat."""
        self.lifeline.cut()
        deadline = time.monotonic() + END_WITHIN_S
        for child in self.children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self.server is not None:
            self.server.stop(immediately=True)
        release(self.home)
        shutil.rmtree(self.home, ignore_errors=True)


def say(phase: str, **more: Any) -> None:
    """One line to the owner, who may have hung up."""
    try:
        sys.stdout.write(json.dumps({"phase": phase, **more}) + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


def end_unless_let_go() -> None:
    """Until a detached keeper is let go, by a word on its standard input, it ends with whoever started it."""
    if not os.read(0, 1):
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """`python -m toolkit.drill.keeper HOME OPTIONS`: keep a sandbox until the owner hangs up or SIGTERM comes."""
    home, options = Path(sys.argv[1]), SandboxOptions.model_validate_json(sys.argv[2])
    up, ended = threading.Event(), threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()
        if not up.is_set():
            raise SystemExit(1)  # half-way up: what is there is ended, what is not is not begun

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    keeper = Keeper(home, options)
    if VARIABLE in os.environ:
        tie(grace_s=CLEARED_WITHIN_S)
    else:
        threading.Thread(target=end_unless_let_go, daemon=True).start()
    try:
        keeper.start()
        up.set()
        say("ready", ready=True)
        while not ended.wait(SUPERVISED_EVERY_S):
            keeper.supervise()
    except Exception as error:
        say("failed", failed=_told(error))
        raise
    finally:
        up.set()
        keeper.end()


def _told(error: Exception) -> dict[str, object]:
    """What the owner raises again."""
    if isinstance(error, ToolkitError):
        return {"what": error.what, "next": error.next, "exit_code": error.exit_code}
    return {"what": redact(f"{type(error).__name__}: {error}"), "next": None, "exit_code": ToolkitError.exit_code}


def _listener() -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    return listening


if __name__ == "__main__":
    main()

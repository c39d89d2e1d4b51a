"""`emergency-rollback` that dies where it is told: a process that has imported it, and forks for each run of it.

    python crash_driver.py     a line of JSON is an order, the answer a line with its exit code; it ends with its pipe

An order's `strike` says at which step, where, and by what: the runner itself is killed with SIGKILL, the server's
processes are, or our sessions are ended. 'before' is before a step is journaled as begun, 'after' is when it was done
and before that is journaled; everything else is a point's name (`crash_points`). Each point that is passed is written
to the order's `trace`, and, before it happens, the strike: what is not there did not happen.
"""

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from crash_points import Point

from toolkit.adapters.postgres import Connection, Database
from toolkit.clock import wait_until
from toolkit.drill.state import SandboxState
from toolkit.errors import DeadlineExceeded
from toolkit.journal import Entry, Journal

RUN_WITHIN_S, GONE_WITHIN_S = 200.0, 20.0
LOOK_EVERY_S = 0.002
WARM = ("rolling_back", "rollback_display")
_COPY_STANDS = """
SELECT FROM pg_namespace WHERE nspname LIKE 'restored\\_%'
UNION ALL
SELECT FROM pg_stat_activity WHERE datname LIKE 'restored\\_%'
"""


@dataclass(frozen=True)
class Strike:
    """`by` 'runner', 'server' or 'line'."""

    step: str
    at: str
    by: str


class Crash:
    """Knows which step is at work, writes down what is passed, and strikes once."""

    def __init__(self, home: Path, trace: Path, strike: Strike | None) -> None:
        self.home, self.trace, self.wanted = home, trace, strike
        self.at: str | None = None
        self._passed: Counter[tuple[str, str]] = Counter()
        self._struck = False

    def heard(self, kind: str, data: Mapping[str, Any], write: Callable[[], Entry]) -> Entry:
        """Every entry of the journal passes here."""
        step = data.get("step")
        if kind == "step.begun":
            self._strike_at(step, "before")
        if kind == "step.done":
            self._strike_at(step, "after")
        entry = write()
        if kind == "step.begun":
            self.at = step
        elif kind in ("step.done", "step.failed"):
            self.at = None
        return entry

    def passes(self, step: str, point: Point) -> None:
        """A point's place was reached, by whatever step is at work."""
        if self.at != step:
            return
        self._passed[step, point.name] += 1
        if self._passed[step, point.name] == point.nth:
            self._write({"passed": [step, point.name]})
            self._strike_at(step, point.name)

    def _strike_at(self, step: str | None, at: str) -> None:
        if self._struck or self.wanted is None or (self.wanted.step, self.wanted.at) != (step, at):
            return
        self._struck = True
        self._write({"struck": [step, at, self.wanted.by]})
        {"runner": self._kill_ourselves, "server": self._kill_the_server, "line": self._cut_the_line}[self.wanted.by]()

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.trace.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _kill_ourselves(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _kill_the_server(self) -> None:
        pid = int((self.home / "postgres" / "pgdata" / "postmaster.pid").read_text().splitlines()[0])
        postmaster = psutil.Process(pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, GONE_WITHIN_S)

    def _cut_the_line(self) -> None:
        """End every session of ours, and see them end."""
        with self.look(autocommit=True, database="postgres") as conn:  # the live one's name may be locked by us
            ours = conn.execute(
                """
                SELECT array_agg(pid) FILTER (WHERE pg_terminate_backend(pid))
                FROM pg_stat_activity
                WHERE usename = 'toolkit'
                """
            ).fetchone()
            gone = "SELECT FROM pg_stat_activity WHERE pid = ANY (%s) AND usename = 'toolkit'"
            wait_until(lambda: not conn.execute(gone, ours).fetchall(), within=GONE_WITHIN_S, what="the line to be cut")

    def look(self, *, autocommit: bool, database: str | None = None) -> "psycopg.Connection[tuple[Any, ...]]":
        """A superuser's session beside the run, on the live database unless another is named."""
        state = SandboxState.read(self.home)
        assert state is not None
        return psycopg.connect(state.admin_url, autocommit=autocommit, **({"dbname": database} if database else {}))


class Transactions(threading.local):
    """The transactions that this thread is in, the innermost last: what was called in each."""

    def __init__(self) -> None:
        self.open: list[list[Callable[[], None]]] = []


def install(crash: Crash, watched: Mapping[str, list[tuple[str, Point]]]) -> None:
    """Put the crash in everybody's way. `watched`: a target → the steps and points that hang on it."""
    append, writing, transactions = Journal.append, Database.writing, Transactions()

    def heard(self: Journal, kind: str, data: Mapping[str, Any], *, actor: str) -> Entry:
        return crash.heard(kind, data, lambda: append(self, kind, data, actor=actor))

    @contextmanager
    def committing(self: Database, **bounds: Any) -> Iterator[Connection]:
        with writing(self, **bounds) as conn:
            transactions.open.append([])
            try:
                yield conn
                for reached in transactions.open[-1]:
                    reached()
            finally:
                transactions.open.pop()

    Journal.append = heard  # type: ignore[method-assign]
    Database.writing = committing  # type: ignore[assignment, method-assign]
    for target, points in watched.items():
        _wrap(crash, transactions, target, points)


def _wrap(crash: Crash, transactions: Transactions, target: str, points: list[tuple[str, Point]]) -> None:
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *inside, name = path.split(".")
    for part in inside:
        owner = getattr(owner, part)
    function = getattr(owner, name)

    def reach(place: str, note: Callable[[Callable[[], None]], None]) -> None:
        for step, point in points:
            if point.place == place:
                note(lambda step=step, point=point: crash.passes(step, point))

    def wrapped(*words: Any, **named: Any) -> Any:
        reach("in", lambda reached: reached())
        if transactions.open:
            reach("commit", transactions.open[-1].append)
        ended = threading.Event()
        reach("while", lambda reached: _watch(crash, ended, reached))
        try:
            result = function(*words, **named)
        finally:
            ended.set()
        reach("past", lambda reached: reached())
        return result

    setattr(owner, name, wrapped)


def _watch(crash: Crash, ended: threading.Event, reached: Callable[[], None]) -> None:
    """Beside what runs: reached as soon as something of a copy stands on the target."""

    def look() -> None:
        with crash.look(autocommit=True) as conn:
            while not ended.wait(LOOK_EVERY_S):
                if conn.execute(_COPY_STANDS).fetchall():
                    break
        if not ended.is_set():
            reached()

    if crash.at is not None:
        threading.Thread(target=look, daemon=True).start()


# The process that forks ---------------------------------------------------------------------------------------------


def serve() -> None:
    """Carry out orders, one after the other, until nobody gives any more."""
    for module in WARM:
        importlib.import_module(f"toolkit.cli.{module}")
    for module in ("rollback", "rollback.resuming", "rollback.rehearsal", "rollback.backup", "rollback.recovered"):
        importlib.import_module(f"toolkit.{module}")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _obey(order)
        sys.stdout.write(json.dumps({"code": _code_of(child)}) + "\n")
        sys.stdout.flush()


def _code_of(child: int) -> int:
    """Its exit code, negative for the signal that ended it."""

    def ended() -> int | None:
        pid, status = os.waitpid(child, os.WNOHANG)
        return status if pid else None

    try:
        return os.waitstatus_to_exitcode(
            wait_until(lambda: None if (s := ended()) is None else (s,), within=RUN_WITHIN_S, what="the run to end")[0]
        )
    except DeadlineExceeded:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 124


def _obey(order: Mapping[str, Any]) -> None:
    """In the child: the command, and never back."""
    code = 70
    try:
        for number, name in ((0, os.devnull), (1, order["stdout"]), (2, order["stderr"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
        os.environ.clear()
        os.environ.update(order["environment"])
        strike = Strike(*order["strike"]) if order["strike"] else None
        crash = Crash(Path(order["home"]), Path(order["trace"]), strike)
        watched: dict[str, list[tuple[str, Point]]] = {}
        for step, *fields in order["watched"]:
            point = Point(*fields)
            watched.setdefault(point.target, []).append((step, point))
        install(crash, watched)
        from toolkit.cli import main as command

        command(["rollback", *order["words"]])
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()

"""`emergency-rollback` that dies where it is told: `python crash_driver.py WHEN STEP HOME WORDS…`.

WHEN is 'before' a step is journaled as begun, 'during' it, 'after' it was done and before that is journaled; or what
happens to the server during it: 'server' (its processes are killed with SIGKILL), 'line' (our sessions are ended).
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg

from toolkit.adapters.postgres import Connection, Database
from toolkit.drill.state import SandboxState
from toolkit.journal import Entry, Journal
from toolkit.rollback.lease import Lease

AFTER_S = 0.25  # into a step that has no transaction of its own
INSIDE = ("during", "server", "line")


class Crash:
    """Knows which step is at work, and strikes once."""

    def __init__(self, when: str, step: str, home: Path) -> None:
        self.when, self.step, self.home = when, step, home
        self.at: str | None = None
        self.guarded = self.struck = False

    def strike(self) -> None:
        if self.struck:
            return
        self.struck = True
        if self.when == "server":
            self._kill_the_server()
        elif self.when == "line":
            self._cut_the_line()
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def _kill_the_server(self) -> None:
        pid = int((self.home / "postgres" / "pgdata" / "postmaster.pid").read_text().splitlines()[0])
        postmaster = psutil.Process(pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            process.kill()

    def _cut_the_line(self) -> None:
        state = SandboxState.read(self.home)
        assert state is not None
        with psycopg.connect(state.admin_url, autocommit=True) as conn:
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'toolkit'")

    def heard(self, kind: str, data: Mapping[str, Any], write: Callable[[], Entry]) -> Entry:
        """Every entry of the journal passes here."""
        step = data.get("step")
        if kind == "step.begun" and step == self.step and self.when == "before":
            self.strike()
        if kind == "step.done" and step == self.step and self.when == "after":
            self.strike()
        entry = write()
        if kind == "step.begun":
            self.at, self.guarded = step, False
            if step == self.step and self.when in INSIDE:
                timer = threading.Timer(AFTER_S, self._unless_guarded)
                timer.daemon = True
                timer.start()
        elif kind == "step.done":
            self.at = None
        return entry

    def _unless_guarded(self) -> None:
        if not self.guarded and self.at == self.step:
            self.strike()

    def guard(self, guard: Callable[[], None]) -> None:
        """Called inside a step's transaction, before it changes anything."""
        guard()
        if self.at == self.step and self.when in INSIDE:
            self.guarded = True

    def committing(self) -> None:
        """Called when a transaction has done its work and is about to commit."""
        if self.guarded and self.at == self.step and self.when in INSIDE:
            self.strike()


def _patch(crash: Crash) -> None:
    append, guard, writing = Journal.append, Lease.guard, Database.writing

    def heard(self: Journal, kind: str, data: Mapping[str, Any], *, actor: str) -> Entry:
        return crash.heard(kind, data, lambda: append(self, kind, data, actor=actor))

    def guarded(self: Lease, conn: Connection) -> None:
        crash.guard(lambda: guard(self, conn))

    @contextmanager
    def committed(self: Database, **bounds: Any) -> Iterator[Connection]:
        with writing(self, **bounds) as conn:
            yield conn
            crash.committing()

    Journal.append = heard  # type: ignore[method-assign]
    Lease.guard = guarded  # type: ignore[method-assign]
    Database.writing = committed  # type: ignore[assignment, method-assign]


def main() -> None:
    when, step, home, *words = sys.argv[1:]
    if when:
        _patch(Crash(when, step, Path(home)))
    from toolkit.cli import main as command

    command(["rollback", *words])


if __name__ == "__main__":
    main()

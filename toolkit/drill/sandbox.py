"""A sandbox from outside: start it, find it, read where it answers, stop its traffic, stop it.

A patient, not a mock: PostgreSQL, the service, its platform and its senders are processes that talk over sockets.
Several run side by side, each with a name and a folder. Whoever starts one attached owns it: it ends with that process.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from filelock import FileLock

from toolkit.clock import wait_until
from toolkit.drill.small_disk import release
from toolkit.drill.state import SandboxOptions, SandboxState, last_words
from toolkit.errors import ToolkitError, UsageError
from toolkit.lifeline import VARIABLE, Lifeline, spawn
from toolkit.places import make_passable, runtime_home, sandbox_home

START_WITHIN_S = 120.0
STOP_WITHIN_S = 60.0  # longer than the keeper may take for all of its parts
SETTLE_WITHIN_S = 30.0


class Sandbox:
    """A running sandbox. As a context it is stopped at the end, whatever happens in between."""

    def __init__(
        self,
        state: SandboxState,
        lifeline: Lifeline | None = None,
        keeper: "subprocess.Popen[bytes] | None" = None,
    ) -> None:
        self.state, self._lifeline, self._keeper = state, lifeline, keeper

    @classmethod
    def start(
        cls,
        name: str,
        options: SandboxOptions,
        *,
        attached: bool,
        progress: Callable[[str], None] = lambda _phase: None,
    ) -> Self:
        """Start one and wait until it answers. `progress` hears what is being started.

        UsageError when one of that name runs already, or when it cannot come up as things are set; ToolkitError when
        it does not come up. Nothing is left behind then, nor after Ctrl-C, nor when this process is killed meanwhile.
        """
        home = sandbox_home(name)
        lifeline = Lifeline.create()
        with FileLock(runtime_home() / "sandboxes.lock"):  # nobody clears away what another is just making
            keeper = _begin(name, home, options, lifeline, attached=attached)
        try:
            _follow(keeper, home, progress)
        except BaseException:  # Ctrl-C, too: what is half-way up is called off
            _call_off(keeper, home, lifeline)
            raise
        state = SandboxState.read(home)
        assert state is not None
        if not attached:
            _let_go(keeper)
            keeper.returncode = 0  # nobody's child from now on; without this Popen would warn that it still runs
            return cls(state)
        return cls(state, lifeline, keeper)

    @classmethod
    def find(cls, name: str) -> Self:
        """A running sandbox by its name. UsageError where there is none."""
        state = SandboxState.read(sandbox_home(name))
        if state is None or not state.alive():
            raise UsageError(f"No sandbox {name!r} is running", next="toolkit sandbox start")
        return cls(state)

    @property
    def home(self) -> Path:
        return sandbox_home(self.state.name)

    @property
    def evidence(self) -> Path:
        """Where the senders' ledger and the service's log are kept. It outlives the sandbox."""
        return self.state.options.evidence

    def reload(self) -> None:
        """Read the state anew."""
        self.state = SandboxState.read(self.home) or self.state

    def check(self) -> None:
        """Raises ToolkitError, with the last words, when it has ended or a part of it has that should run."""
        self.reload()
        if not self.state.alive():
            raise ToolkitError("The sandbox ended by itself", next=f"look into {self.evidence}")
        if self.state.trouble:
            raise ToolkitError(
                self.state.trouble, state="the rest of the sandbox runs", next="mend that, then start a fresh sandbox"
            )

    def stop_traffic(self) -> None:
        """No new events; wait until the senders have delivered what they can. Safe to repeat."""
        self.reload()
        if (pid := self.state.senders_pid) is None or _ended(pid):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: _ended(pid), within=SETTLE_WITHIN_S, what="the senders to deliver what is left")

    def stop_monitor(self) -> None:
        """End the monitor, so that the incident's journal is closed. Safe to repeat."""
        self.reload()
        if (pid := self.state.monitor_pid) is not None and not _ended(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            wait_until(lambda: _ended(pid), within=SETTLE_WITHIN_S, what="the monitor to end")

    def stop(self) -> None:
        """End it and remove its folder; the evidence stays. Safe to repeat."""
        if self._lifeline is not None:
            self._lifeline.cut()
        elif self.state.alive():
            os.kill(self.state.keeper_pid, signal.SIGTERM)
        wait_until(lambda: not self.state.alive(), within=STOP_WITHIN_S, what="the sandbox to end")
        if self._keeper is not None:
            self._keeper.wait(STOP_WITHIN_S)
        with contextlib.suppress(ChildProcessError):  # where this very process had started it detached
            os.waitpid(self.state.keeper_pid, os.WNOHANG)
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def running_sandboxes() -> list[SandboxState]:
    """Every one that runs, by name."""
    states = [SandboxState.read(home) for home in sorted(runtime_home().glob("sandbox-*"))]
    return [state for state in states if state is not None and state.alive()]


def clear_leftovers() -> None:
    """Remove the folders of sandboxes whose keeper died; its children died with it."""
    for home in runtime_home().glob("sandbox-*"):
        state = SandboxState.read(home)
        if (state is not None and not state.alive()) or (state is None and not _being_made(home)):
            release(home)
            shutil.rmtree(home, ignore_errors=True)


def _being_made(home: Path) -> bool:
    return any(str(home) in (each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"]))


def _ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _begin(
    name: str, home: Path, options: SandboxOptions, lifeline: Lifeline, *, attached: bool
) -> "subprocess.Popen[bytes]":
    clear_leftovers()
    if (running := SandboxState.read(home)) is not None and running.alive():
        raise UsageError(
            f"Sandbox {name!r} runs already",
            state="it was left as it is",
            next=f"toolkit sandbox stop --name {name}, or start one under another name",
        )
    options.evidence.mkdir(parents=True, exist_ok=True)
    make_passable(home)
    return _spawn_keeper(home, options, lifeline, attached=attached)


def _spawn_keeper(
    home: Path, options: SandboxOptions, lifeline: Lifeline, *, attached: bool
) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-m", "toolkit.drill.keeper", str(home), options.model_dump_json()]
    with (home / "keeper.log").open("ab") as log:
        if attached:
            return spawn(argv, lifeline=lifeline, stdout=subprocess.PIPE, stderr=log)
        unbound = {name: value for name, value in os.environ.items() if name != VARIABLE}
        return subprocess.Popen(
            argv, env=unbound, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )


def _let_go(keeper: "subprocess.Popen[bytes]") -> None:
    """A detached one lives on from now."""
    assert keeper.stdin is not None
    keeper.stdin.write(b".")
    keeper.stdin.close()


def _call_off(keeper: "subprocess.Popen[bytes]", home: Path, lifeline: Lifeline) -> None:
    """End a keeper that is half-way up, or at its end already, with all that it has begun."""
    lifeline.cut()
    if keeper.stdin is not None:
        keeper.stdin.close()
    keeper.wait(STOP_WITHIN_S)
    shutil.rmtree(home, ignore_errors=True)


def _follow(keeper: "subprocess.Popen[bytes]", home: Path, progress: Callable[[str], None]) -> None:
    """Pass on what the keeper says until it is ready; otherwise say why it is not."""
    assert keeper.stdout is not None
    failed: Mapping[str, Any] = {}
    with keeper.stdout:
        for line in keeper.stdout:
            said = json.loads(line)
            if said.get("ready"):
                return
            failed = said.get("failed", failed)
            progress(said["phase"])
    keeper.wait(STOP_WITHIN_S)
    kind = UsageError if failed.get("exit_code") == UsageError.exit_code else ToolkitError
    raise kind(
        f"The sandbox did not come up: {failed.get('what') or last_words(home / 'keeper.log')}",
        state="nothing was left running",
        next=failed.get("next") or "mend that, then repeat the command",
    )

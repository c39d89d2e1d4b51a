"""Start a game day: one at a time, its director detached once all is steady. Before that it ends with its starter."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from filelock import FileLock

from toolkit.drill.gameday.current import write_off
from toolkit.drill.gameday.place import GameDayState, home, keep_plan
from toolkit.drill.gameday.planning import Plan
from toolkit.drill.lever import expect_released
from toolkit.drill.state import last_words
from toolkit.drill.steady import expect_target
from toolkit.errors import ToolkitError, UsageError
from toolkit.lifeline import VARIABLE
from toolkit.places import runtime_home

GONE_WITHIN_S = 60.0


def launch(plan: Plan, operator: str, progress: Callable[[str], None]) -> GameDayState:
    """Start one by its plan and wait until all is steady; `progress` hears what is being started.

    UsageError where one runs already, while the lever is held, and where the playbook knows no sandbox; ToolkitError
    when it does not come up. Nothing is left then, nor after Ctrl-C. The evidence of one before it, whose director
    died, is brought to its folder first.
    """
    expect_target()
    expect_released()
    if plan.folder.exists():
        raise UsageError(f"{plan.folder} exists already", state="nothing was done", next="name another with --out")
    with FileLock(runtime_home() / "gameday.lock"):
        _clear_the_last()
        keep_plan(plan)
        director = _spawn(operator)
        try:
            _follow(director, progress)
        except BaseException:  # Ctrl-C, too
            _call_off(director)
            raise
        state = GameDayState.read()
        assert state is not None and director.stdin is not None
        director.stdin.write(b".")  # it lives on from now
        director.stdin.close()
        director.returncode = 0
        return state


def _clear_the_last() -> None:
    before = GameDayState.read()
    if before is not None and before.alive and not before.ended:
        raise UsageError(
            "A game day is running already",
            state="it was left as it is",
            next="toolkit gameday status; toolkit gameday finish or abort ends it",
        )
    if before is not None and not before.ended:
        write_off(before)
    if before is not None and before.sheets:
        shutil.rmtree(before.sheets, ignore_errors=True)
    for path in home().iterdir():
        path.unlink()


def _spawn(operator: str) -> "subprocess.Popen[bytes]":
    """What is played is not among its arguments, nor in its environment."""
    argv = [sys.executable, "-m", "toolkit.drill.gameday.director", operator]
    unbound = {name: value for name, value in os.environ.items() if name != VARIABLE}
    with (home() / "director.log").open("ab") as log:
        return subprocess.Popen(
            argv, env=unbound, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )


def _follow(director: "subprocess.Popen[bytes]", progress: Callable[[str], None]) -> None:
    assert director.stdout is not None
    failed: Mapping[str, Any] = {}
    with director.stdout:
        for line in director.stdout:
            said = json.loads(line)
            if said.get("ready"):
                return
            failed = said.get("failed", failed)
            progress(said["phase"])
    director.wait(GONE_WITHIN_S)
    kind = UsageError if failed.get("exit_code") == UsageError.exit_code else ToolkitError
    raise kind(
        f"The game day did not begin: {failed.get('what') or last_words(home() / 'director.log')}",
        state="nothing was left running",
        next=failed.get("next") or "mend that, then repeat the command",
    )


def _call_off(director: "subprocess.Popen[bytes]") -> None:
    if director.stdin is not None:
        director.stdin.close()
    try:
        director.wait(GONE_WITHIN_S)
    except subprocess.TimeoutExpired:
        director.kill()
        director.wait()

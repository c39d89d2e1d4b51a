"""One cell of the crash matrix: a sandbox under traffic, a fault, a rollback that is hit, and gone on with."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from crash_proofs import Known, answered, look_at_end, look_at_journal, look_at_strike, put_witness
from crash_types import UNDISTURBED, Cell

from toolkit.clock import wait_until
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
from toolkit.drill.steady import record_steady_state
from toolkit.incident import Incident
from toolkit.playbook import Severity

DRIVER = Path(__file__).with_name("crash_driver.py")
STEADY_S = 2.0
ANSWERS_WITHIN_S = 30
MOST_RUNS = 3  # the first, and one that may still find what the dead one left behind


@dataclass
class Seen:
    """What came of a cell. `wrong` is a line for each thing that is not as it must be."""

    runs: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ran:
    """A run of the command: its exit code, negative for a signal, and what it said to people."""

    code: int
    said: str


class Driver:
    """A process that forks for each run, so that none of them waits for its imports."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, DRIVER], stdin=pipe, stdout=pipe, text=True)

    def run(self, order: dict[str, object]) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline())["code"])

    def end(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


_drivers = threading.local()


@contextlib.contextmanager
def driving() -> Iterator[None]:
    """Keep one driver for all cells that this thread plays within."""
    _drivers.own = Driver()
    try:
        yield
    finally:
        _drivers.own.end()
        del _drivers.own


NOBODY = ("--override", "nobody is to be told of the crash matrix")


def play(cell: Cell) -> Seen:
    """Play it. Takes some seconds."""
    began, seen = time.monotonic(), Seen()
    with tempfile.TemporaryDirectory(prefix="cell-") as folder:
        evidence = Path(folder) / "evidence"
        evidence.mkdir()
        options = SandboxOptions(
            evidence=evidence, events=400, cases=100, cloned=True, monitor=False, webhooks_per_s=10
        )
        name = f"cell-{os.getpid()}-{time.monotonic_ns()}"
        with Sandbox.start(name, options, attached=True) as sandbox:
            _play_in(cell, sandbox, Incident(evidence), seen)
    seen.seconds = round(time.monotonic() - began, 1)
    return seen


def _play_in(cell: Cell, sandbox: Sandbox, incident: Incident, seen: Seen) -> None:
    cell.type.ready(sandbox.state)
    wait_until(lambda: answered(sandbox), within=ANSWERS_WITHIN_S, what="the first event")
    record_steady_state(sandbox.state, STEADY_S)
    put_witness(cell, sandbox)
    before = Known.of(sandbox)
    cell.type.break_it(sandbox.state)
    if bool(before.wrong_values(Known.of(sandbox))) != cell.type.damages:
        seen.wrong.append(f"the fault {'damaged nothing' if cell.type.damages else 'damaged rows'}")
    incident.open(Severity.P1, ["the crash matrix broke it"], actor="tester")
    ran = _run(cell, sandbox, incident, cell.type.words, hit=True)
    seen.wrong += look_at_strike(cell, incident.folder / "trace.jsonl", ran.code, ran.said)
    seen.runs = 1
    wait_until(lambda: _answers(sandbox), within=ANSWERS_WITHIN_S, what="the server to answer again")
    while ran.code not in (0, 3) and seen.runs < MOST_RUNS:
        words = ("--resume",) if _was_begun(incident) else cell.type.words
        ran = _run(cell, sandbox, incident, words)
        seen.runs += 1
    if ran.code not in (0, 3):
        seen.wrong.append(f"it did not come to an end: {ran.code}, {ran.said.strip()[-600:]}")
    seen.wrong += look_at_journal(cell, incident)
    seen.wrong += look_at_end(cell, sandbox, incident, before)


def _run(cell: Cell, sandbox: Sandbox, incident: Incident, words: tuple[str, ...], *, hit: bool = False) -> Ran:
    said = incident.folder / "stderr.txt"
    said.unlink(missing_ok=True)
    shared = ("--target", "sandbox", "--incident", str(incident.folder), "--execute", "--json")
    order = {
        "words": [*words, *shared, "--no-rehearsal", "the crash matrix strikes in the run", *NOBODY],
        "environment": dict(os.environ) | sandbox.state.environment(),
        "home": str(sandbox.home),
        "trace": str(incident.folder / "trace.jsonl"),
        "strike": [cell.step, cell.at, cell.by] if hit and cell.at != UNDISTURBED else None,
        "watched": [
            (step, point.name, point.place, point.target, point.nth)
            for step in cell.type.steps
            for point in cell.type.points(step)
            if hit
        ],
        "stdout": os.devnull,
        "stderr": str(said),
    }
    if hasattr(_drivers, "own"):
        code = _drivers.own.run(order)
    else:
        with driving():
            code = _drivers.own.run(order)
    return Ran(code, said.read_text() if said.exists() else "")


def _was_begun(incident: Incident) -> bool:
    return any(entry.kind == "plan.made" and entry.data.get("execute") for entry in incident.journal.entries())


def _answers(sandbox: Sandbox) -> bool:
    """The server; the live database itself may be closed by a swap that died."""
    try:
        with psycopg.connect(sandbox.state.admin_url, dbname="postgres", connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False

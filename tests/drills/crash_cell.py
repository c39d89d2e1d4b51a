"""One cell of the crash matrix: a sandbox under traffic, a fault, a rollback that is hit, and gone on with.

What it looks at afterwards does not come from the code under test alone: the ledger of the senders, the catalog, the
state table, and what the journal holds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from toolkit.clock import wait_until
from toolkit.drill.faults import inject
from toolkit.drill.ledger import account
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.scenario import load_scenario
from toolkit.drill.state import SandboxOptions
from toolkit.drill.steady import record_steady_state
from toolkit.incident import Incident
from toolkit.playbook import Severity
from toolkit.verify.fingerprints import SchemaSignature, difference, schema_signature

DRIVER = Path(__file__).with_name("crash_driver.py")
STEADY_S = 1.5
RUN_WITHIN_S = 150
CRASHES = ("before", "during", "after", "server", "line")


@dataclass(frozen=True)
class Type:
    """A rollback type: the scenario that calls for it, the words of its command, its steps."""

    name: str
    scenario: str
    words: tuple[str, ...]
    steps: tuple[str, ...]


TYPES = (
    Type("1 migration", "breaking-migration", ("--migration-target=8",), ("point-production", "run-down-9")),
    Type("1 mending", "half-applied-migration", ("--migration-target=8",), ("mend-9",)),
    Type("2 application", "bad-deployment", ("--app-rollback=",), ("point-production",)),
    Type("3 restore", "corrupting-migration", ("--backup-restore=newest",), ("restore-beside", "swap-in")),
    Type(
        "4 emergency",
        "full-outage",
        ("--full-emergency",),
        (
            "freeze-writes",
            "back-up",
            "point-production",
            "run-down-9",
            "release-webhooks",
            "release-reminders",
            "release-everything",
        ),
    ),
)


@dataclass(frozen=True)
class Cell:
    type: Type
    step: str
    crash: str

    def __str__(self) -> str:
        return f"{self.type.name}, {self.step}, {self.crash}"


CELLS = tuple(Cell(each, step, crash) for each in TYPES for step in each.steps for crash in CRASHES)


@dataclass
class Seen:
    """What came of a cell. `wrong` is a line for each thing that is not as it must be."""

    hit: bool = False
    runs: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def play(cell: Cell) -> Seen:
    """Play it. Takes ten seconds or more."""
    began, seen = time.monotonic(), Seen()
    with tempfile.TemporaryDirectory(prefix="cell-") as folder:
        evidence = Path(folder) / "evidence"
        evidence.mkdir()
        options = SandboxOptions(evidence=evidence, events=400, cases=100, monitor=False, webhooks_per_s=10)
        with Sandbox.start(f"cell-{os.getpid()}-{time.monotonic_ns()}", options, attached=True) as sandbox:
            _play_in(cell, sandbox, Incident(evidence), seen)
    seen.seconds = round(time.monotonic() - began, 1)
    return seen


def _play_in(cell: Cell, sandbox: Sandbox, incident: Incident, seen: Seen) -> None:
    record_steady_state(sandbox.state, STEADY_S)
    before = _signature(sandbox)
    inject(load_scenario(cell.type.scenario), sandbox.state)
    incident.open(Severity.P1, ["the crash matrix broke it"], actor="tester")
    done = _run(sandbox, incident, cell.type.words, crash=(cell.crash, cell.step))
    seen.runs = 1
    seen.hit = done.returncode != 0 or cell.crash in ("server", "line")
    wait_until(lambda: _answers(sandbox), within=30, what="the database to answer again")
    while done.returncode not in (0, 3) and seen.runs < 5:
        words = ("--resume",) if _was_begun(incident) else cell.type.words
        done = _run(sandbox, incident, words)
        seen.runs += 1
    if done.returncode not in (0, 3):
        seen.wrong.append(f"it did not come to an end: {done.stderr.strip()[-400:]}")
    _look(cell, sandbox, incident, before, seen)


def _run(
    sandbox: Sandbox, incident: Incident, words: tuple[str, ...], crash: tuple[str, str] = ("", "")
) -> "subprocess.CompletedProcess[str]":
    environment = dict(os.environ) | sandbox.state.environment()
    argv = [sys.executable, str(DRIVER), *crash, str(sandbox.home), *words, "--target", "sandbox"]
    argv += ["--incident", str(incident.folder), "--execute", "--json"]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=RUN_WITHIN_S, check=False)


def _was_begun(incident: Incident) -> bool:
    return any(entry.kind == "plan.made" and entry.data.get("execute") for entry in incident.journal.entries())


def _answers(sandbox: Sandbox) -> bool:
    try:
        with psycopg.connect(sandbox.state.admin_url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def _signature(sandbox: Sandbox) -> SchemaSignature:
    with psycopg.connect(sandbox.state.admin_url) as conn:
        return schema_signature(conn, ["public", "pgboss"])


def _look(cell: Cell, sandbox: Sandbox, incident: Incident, before: SchemaSignature, seen: Seen) -> None:
    """The end state, from outside."""
    drift = difference(before, _signature(sandbox))
    seen.wrong += [f"schema: {line}" for line in drift[:5]]
    with psycopg.connect(sandbox.state.admin_url) as conn:
        if (state := conn.execute("SELECT version, dirty FROM schema_migrations").fetchall()) != [(8, False)]:
            seen.wrong.append(f"the state table says {state}")
        held = conn.execute("SELECT holder FROM toolkit.lease WHERE released_at IS NULL").fetchall()
        seen.wrong += [f"the lease is held by {holder}" for (holder,) in held]
        unfinished = conn.execute("SELECT plan FROM toolkit.rollback_plan WHERE ended_at IS NULL").fetchall()
        seen.wrong += [f"plan {plan} is unfinished" for (plan,) in unfinished]
        seen.wrong += _frozen(conn)
    seen.wrong += _twice(incident)
    if (health := httpx.get(f"{sandbox.state.service_url}/api/health/db", timeout=10)).status_code != 200:
        seen.wrong.append(f"the service answers {health.status_code}")
    sandbox.stop_traffic()
    with psycopg.connect(sandbox.state.admin_url) as conn:
        accounting = account(sandbox.evidence / "ledger.sqlite", conn)
    seen.wrong += [f"{name}: {count}" for name, count in accounting.faults.items()]
    if not accounting.acknowledged.count:
        seen.wrong.append("nothing was acknowledged: there was no traffic to lose")


def _frozen(conn: "psycopg.Connection[tuple[object, ...]]") -> list[str]:
    if conn.execute("SELECT to_regclass('toolkit.freeze')").fetchone() == (None,):
        return []
    row = conn.execute("SELECT count(*) FROM toolkit.freeze WHERE lifted_at IS NULL").fetchone()
    return ["writes are still frozen"] if row != (0,) else []


def _twice(incident: Incident) -> list[str]:
    """Steps that the journal says were done more than once."""
    done: dict[str, int] = {}
    for entry in incident.journal.entries():
        if entry.kind == "step.done":
            name = f"{entry.data['plan']}/{entry.data['step']}"
            done[name] = done.get(name, 0) + 1
    return [f"{name} was done {count} times" for name, count in done.items() if count > 1]


def table(found: Mapping[Cell, Seen]) -> str:
    """All cells as lines: what it was, how many runs it took, how long, and what is wrong."""
    lines = [f"{'cell':55} {'hit':4} {'runs':4} {'s':>6}  outcome"]
    for cell, seen in found.items():
        outcome = "; ".join(seen.wrong) or "as it should be"
        lines.append(f"{cell!s:55} {'yes' if seen.hit else 'no':4} {seen.runs:4} {seen.seconds:6.1f}  {outcome}")
    bad = sum(bool(seen.wrong) for seen in found.values())
    return "\n".join([*lines, f"{len(found)} cells, {bad} wrong"])


def main() -> int:
    """The whole matrix, or the cells whose name holds a word: `python crash_cell.py [WORD]`."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    found: dict[Cell, Seen] = {}
    for cell in CELLS:
        if wanted in str(cell):
            found[cell] = play(cell)
            sys.stderr.write(f"{cell}: {json.dumps(found[cell].__dict__)}\n")
    sys.stdout.write(table(found) + "\n")
    return 1 if any(seen.wrong for seen in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""A service's database that is to be restored: seeded, backed up, damaged, and written to by clients all the while.

Also a program: `python restore_rig.py INCIDENT SOURCE WAY POINT` carries both steps out and kills itself with SIGKILL
where the function named POINT (`module:function`) is entered, or left when it ends in `!`.
"""

import importlib
import json
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from toolkit.adapters.systems import Systems, connect
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up, seed
from toolkit.incident import Incident
from toolkit.playbook import load_playbook
from toolkit.rollback.blocking import Patience
from toolkit.rollback.damage import Damage
from toolkit.rollback.plan import Plan, RestoreBeside, SwapIn, Way
from toolkit.rollback.restore.names import mark_of
from toolkit.rollback.restore.source_reading import read_source
from toolkit.rollback.steps.doing import Surroundings
from toolkit.rollback.steps.restore_beside import RestoringBeside
from toolkit.rollback.steps.swap_in import SwappingIn

ROOT = Path(__file__).parents[3]
NOWHERE = "http://127.0.0.1:9"


def environment_of(database_url: str) -> dict[str, str]:
    """A target of which only the database is ever asked."""
    return {
        "DATABASE_URL": database_url,
        "SERVICE_URL": NOWHERE,
        "VERCEL_API_URL": NOWHERE,
        "VERCEL_TOKEN": "token-of-the-restore-rig",
        "VERCEL_PROJECT_ID": "prj_none",
        "VERCEL_TEAM_ID": "team_none",
        "WHOP_WEBHOOK_SECRET": "webhook-secret-of-the-restore-rig",
        "CRON_SECRET": "cron-secret-of-the-restore-rig",
        "TOOLKIT_SANDBOX": "none-of-this-name",
    }


def systems_of(environment: Mapping[str, str]) -> Systems:
    book = load_playbook(ROOT / "playbook.toml")
    return connect(book, book.target("sandbox", environment))


@dataclass
class RestoreRig:
    """One target, one incident, one backup of it."""

    database: ServiceDatabase
    incident: Incident
    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    damage: tuple[Damage, ...] = ()

    @property
    def systems(self) -> Systems:
        return systems_of(environment_of(self.database.toolkit_url))

    @property
    def backup(self) -> Path:
        return self.incident.folder / "good"

    @property
    def mark(self) -> str:
        return mark_of(self.incident.id, str(self.backup))

    def around(self, **more: Any) -> Surroundings:
        systems = more.pop("systems", None) or self.systems
        plan = Plan("restore", "churn-saver", "sandbox", systems.database.identity(), "a restore", ())
        made = Surroundings(plan, systems, self.incident, PATIENT, lambda kind, data: self.told.append((kind, data)))
        return replace(made, **more)

    def beside(self, way: Way, source: Path | None = None, **more: Any) -> RestoringBeside:
        path = source or self.backup
        return RestoringBeside(RestoreBeside(str(path), read_source(path).sha256, way), self.around(**more))

    def swap(self, way: Way, source: Path | None = None, **more: Any) -> SwappingIn:
        return SwappingIn(SwapIn(str(source or self.backup), way, self.damage), self.around(**more))

    def query(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.admin_url, autocommit=True) as conn:
            done = conn.execute(statement, values or None)
            return done.fetchall() if done.description else []


PATIENT = Patience(lock_within_ms=200, give_up_after_s=20, first_pause_s=0.05, longest_pause_s=0.2)
IMPATIENT = Patience(lock_within_ms=100, give_up_after_s=0.4, first_pause_s=0.05, longest_pause_s=0.1)


def set_up(database: ServiceDatabase, *, version: int = 8, events: int = 300, cases: int = 100) -> None:
    with psycopg.connect(database.owner_url) as conn:
        migrate_up(conn, min(version, 8))
        seed(conn, seed=1, events=events, cases=cases)
        migrate_up(conn, version)


def damage_settings(rig: RestoreRig) -> None:
    """An UPDATE without WHERE, and the predicate that tells it."""
    rows = rig.query("UPDATE creator_settings SET incentive_days = 99 RETURNING xmin::text")
    rig.damage = (Damage("creator_settings", ("incentive_days",), None, (rows[0][0],)),)


def lost(rig: RestoreRig, clients: "Clients") -> list[str]:
    """What was acknowledged and is not there, in words."""
    there = {row[0] for row in rig.query("SELECT whop_event_id FROM events")}
    attempts = {str(case): value for case, value in rig.query("SELECT id, attempts FROM recovery_cases")}
    return [name for name in clients.inserted if name not in there] + [
        f"{case}: {attempts[case]} attempts instead of {value}"
        for case, value in clients.changed.items()
        if attempts[case] != value
    ]


class Clients:
    """Threads that insert events and change cases, each over one connection that it keeps. What was acknowledged is
    in `inserted` (event ids) and `changed` (case id to attempts)."""

    def __init__(self, database: ServiceDatabase, *, writers: int = 2, pause_s: float = 0.004) -> None:
        self._database, self._ended, self._pause = database, threading.Event(), pause_s
        self.inserted: list[str] = []
        self.changed: dict[str, int] = {}
        self.errors: list[str] = []
        self.pids: dict[int, set[int]] = {}
        self.gaps: list[float] = []
        self._threads = [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(writers)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, more: int) -> None:
        """Until so many more were acknowledged."""
        from toolkit.clock import wait_until

        goal = len(self.inserted) + more
        wait_until(lambda: len(self.inserted) >= goal or self.errors, within=30, what="clients to write")

    def _write(self, number: int) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._database.url("app_b8"), autocommit=True) as conn:
                    conn.execute("SET app.company_id = '*'")
                    self.pids.setdefault(number, set()).add(conn.info.backend_pid)
                    cases = [row[0] for row in conn.execute("SELECT id FROM recovery_cases ORDER BY id").fetchall()]
                    self._go_on(conn, number, cases[number::2])
            except psycopg.OperationalError as error:
                self.errors.append(type(error).__name__)
                self._ended.wait(0.02)

    def _go_on(self, conn: psycopg.Connection[Any], number: int, cases: list[Any]) -> None:
        turn = 0
        while not self._ended.wait(self._pause):
            turn += 1
            name = f"evt_live_{number}_{uuid.uuid4().hex}"
            conn.execute(
                "INSERT INTO events (whop_event_id, type, membership_id, company_id, payload)"
                " VALUES (%s, 'payment_failed', 'mem', 'biz_1', '{}')",
                (name,),
            )
            self.inserted.append(name)
            if cases:
                self._change(conn, cases[turn % len(cases)])

    def _change(self, conn: psycopg.Connection[Any], case: Any) -> None:
        with suppress(psycopg.errors.CheckViolation):  # from version 9 on some cases cannot be changed
            row = conn.execute(
                "UPDATE recovery_cases SET attempts = attempts + 1 WHERE id = %s RETURNING attempts", (case,)
            ).fetchone()
            if row is not None:
                self.changed[str(case)] = row[0]


def _die_at(point: str) -> None:
    """Replace a function so that it kills this process."""
    module_name, _, name = point.rstrip("!").partition(":")
    module = importlib.import_module(module_name)
    original: Callable[..., Any] = getattr(module, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        if not point.endswith("!"):
            os.kill(os.getpid(), signal.SIGKILL)
        done = original(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(module, name, dying)


def main() -> None:
    folder, source, way, point = sys.argv[1:]
    if point:
        _die_at(point)
    systems, incident = systems_of(os.environ), Incident.at(folder)
    plan = Plan("restore", "churn-saver", "sandbox", None, "a restore", ())
    around = Surroundings(plan, systems, incident, PATIENT, lambda kind, data: None)
    path = Path(source)
    said = []
    for step in (
        RestoringBeside(RestoreBeside(source, read_source(path).sha256, way), around),  # type: ignore[arg-type]
        SwappingIn(SwapIn(source, way, ()), around),  # type: ignore[arg-type]
    ):
        step.require()
        if not step.look().done:
            said.append(step.act())
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()

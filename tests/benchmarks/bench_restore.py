"""`make bench`: for how long nobody can write during a restore, ours beside the script's `psql < backup.sql`.

Both on the same rows, on one server, one after the other, with a client that inserts 200 events a second and knows when
each was acknowledged. BENCH_EVENTS says how many events there are (2 million without it).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from rich.console import Console
from rich.table import Table

from toolkit.drill.database import ServiceDatabase, create_database, create_roles
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.rollback.backup import make_backup
from toolkit.server import PostgresServer

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "rollback_engine"))
from restore_fixtures import opened
from restore_rig import RestoreRig, damage_settings, set_up

FULL = 2_000_000
EVENTS = int(os.environ.get("BENCH_EVENTS", str(FULL)))
TIMES_LESS, TARGET_S = 10, 1.0
PAUSE_S = 0.005


class Client(threading.Thread):
    """Inserts an event at a time; `longest_gap_s` is the longest time between two that were acknowledged."""

    def __init__(self, database: ServiceDatabase) -> None:
        super().__init__(daemon=True)
        self._url, self._ended = database.app_url(8), threading.Event()
        self.acknowledged: list[str] = []
        self.longest_gap_s, self._last = 0.0, time.monotonic()

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as conn:
                    conn.execute("SET app.company_id = '*'")
                    while not self._ended.wait(PAUSE_S):
                        self._insert(conn)
            except psycopg.Error:
                self._ended.wait(PAUSE_S)

    def _insert(self, conn: psycopg.Connection[tuple[object, ...]]) -> None:
        name = f"evt_bench_{uuid.uuid4().hex}"
        conn.execute(
            "INSERT INTO public.events (whop_event_id, type, membership_id, company_id, payload)"
            " VALUES (%s, 'payment_failed', 'mem', 'biz_1', '{}')",
            (name,),
        )
        now = time.monotonic()
        self.acknowledged.append(name)
        self.longest_gap_s, self._last = max(self.longest_gap_s, now - self._last), now

    def end(self) -> None:
        """A last acknowledged write, so that a gap that is still open counts."""
        goal = len(self.acknowledged) + 2
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < goal and time.monotonic() < deadline:
            time.sleep(PAUSE_S)
        self._ended.set()
        self.join(30)


@dataclass(frozen=True)
class Measured:
    """Seconds: of the whole, and of the longest time without an acknowledged write. `lost` of the acknowledged."""

    seconds: float
    gap_s: float
    lost: int


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    lifeline = Lifeline.create()
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=runtime_home()))
    home.chmod(0o711)
    running = PostgresServer.create(home, lifeline)
    yield running
    running.stop(immediately=True)
    lifeline.cut()
    shutil.rmtree(home, ignore_errors=True)


def dump_plainly(database: ServiceDatabase, file: Path) -> None:
    """As the script does it, with the words that make it replace what is there."""
    words = [database.server.binaries.program("pg_dump"), "--clean", "--if-exists", "--file", file, "-n", "public"]
    subprocess.run([*words, "-n", "pgboss", database.admin_url], check=True)


def lost(database: ServiceDatabase, client: Client) -> int:
    with psycopg.connect(database.admin_url) as conn:
        there = {row[0] for row in conn.execute("SELECT whop_event_id FROM events WHERE whop_event_id ~ '^evt_bench'")}
    return sum(name not in there for name in client.acknowledged)


def by_script(database: ServiceDatabase, dump: Path) -> Measured:
    client = Client(database)
    client.start()
    time.sleep(0.5)
    began = time.monotonic()
    words = [database.server.binaries.program("psql"), "-X", "-q", "-o", os.devnull, database.admin_url]
    with dump.open("rb") as content:
        subprocess.run(words, stdin=content, stderr=subprocess.DEVNULL, check=False)
    seconds = time.monotonic() - began
    client.end()
    return Measured(seconds, client.longest_gap_s, lost(database, client))


def by_us(rig: RestoreRig) -> tuple[Measured, float]:
    """The whole of it, and how long the copy beside took; the gap is that of the whole."""
    client = Client(rig.database)
    client.start()
    time.sleep(0.5)
    began = time.monotonic()
    rig.beside("schemas").act()
    beside = time.monotonic() - began
    rig.swap("schemas").act()
    seconds = time.monotonic() - began
    client.end()
    return Measured(seconds, client.longest_gap_s, lost(rig.database, client)), beside


def test_bench_time_without_writes(server: PostgresServer, tmp_path: Path) -> None:
    passwords = create_roles(server)
    database = create_database(server, passwords, "churn")
    set_up(database, events=EVENTS, cases=5_000)
    rig = RestoreRig(database, opened(tmp_path / "incident"))
    rig.systems.database.prepare()
    make_backup(rig.systems, rig.backup, incident=rig.incident, actor="bench")
    dump_plainly(database, tmp_path / "backup.sql")
    damage_settings(rig)
    ours, beside = by_us(rig)
    script = by_script(database, tmp_path / "backup.sql")
    table = Table("restore of", f"{EVENTS:,} events", "without writes", "acknowledged lost")
    for name, each in (("script: psql < backup.sql", script), ("beside, then schemas swapped", ours)):
        table.add_row(name, f"{each.seconds:.1f} s", f"{each.gap_s:.3f} s", str(each.lost))
    console = Console(width=100)
    console.print(table)
    ratio = script.gap_s / ours.gap_s
    console.print(f"{ratio:.0f} times less (at least {TIMES_LESS}); target {TARGET_S:g} s plus the merge")
    console.print(f"beside production {beside:.1f} s, while it served")
    assert ours.lost == 0
    assert ratio >= TIMES_LESS or EVENTS < FULL  # with few rows both are quick

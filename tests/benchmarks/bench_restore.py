"""`make bench`: for how long nobody can write during a restore, ours by each way beside the script's
`psql < backup.sql`.

All on copies of one database in which every event and every setting was overwritten, on one server, one after the
other, with a client that inserts 200 events a second and knows when each was acknowledged. Afterwards every seeded row
must have its value again, and no acknowledged one be missing. BENCH_EVENTS says how many events there are (2 million
without it); what is to be met is judged at full size only, for with few rows everything is quick.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table
from two_million import EVENTS, require_met

from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase, create_database, create_deployment_role, create_roles
from toolkit.lifeline import Lifeline
from toolkit.places import runtime_home
from toolkit.rollback.backup import make_backup
from toolkit.rollback.damage import Damage
from toolkit.rollback.plan import Way
from toolkit.rollback.restore import reload, swap_databases, swap_schemas
from toolkit.server import PostgresServer

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "rollback_engine"))
from restore_fixtures import opened
from restore_rig import RestoreRig, damage_settings, set_up

TIMES_LESS, TARGET_S = 10, 1.0
PAUSE_S, WARM = 0.005, 50
WRONG_SETTINGS = "SELECT count(*) FROM creator_settings WHERE incentive_days = 99"


class Client(threading.Thread):
    """Inserts an event at a time; `longest_gap_s` is the longest time between two that were acknowledged."""

    def __init__(self, database: ServiceDatabase) -> None:
        super().__init__(daemon=True)
        self._url, self._ended = database.url("app_b8"), threading.Event()
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
        wait_until(lambda: len(self.acknowledged) >= goal, within=60, what="a write after it")
        self._ended.set()
        self.join(30)


@dataclass(frozen=True)
class Measured:
    """Seconds: of the whole, of the longest time without an acknowledged write, of what was done before the swap, and
    of the merge inside it. `lost` of the acknowledged; `wrong` values of the seeded."""

    seconds: float
    gap_s: float
    lost: int
    wrong: int
    beside_s: float = 0.0
    merge_s: float = 0.0


@pytest.fixture(scope="module")
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


DIGEST = """
SELECT count(*) FILTER (WHERE membership_id = 'mem_wrong'), sum(hashtextextended(whop_event_id || membership_id, 0))
FROM events
WHERE whop_event_id !~ '^evt_bench'
"""


@dataclass(frozen=True)
class Origin:
    """Whole and backed up both ways; nobody writes to it."""

    database: ServiceDatabase
    backup: Path
    dump: Path
    digest: Any


@pytest.fixture(scope="module")
def origin(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Origin:
    home = tmp_path_factory.mktemp("origin")
    passwords = create_roles(server)
    login = conninfo_to_dict(create_deployment_role(server.url(), "app_b8"))
    database = create_database(server, passwords | {"app_b8": str(login["password"])}, "origin")
    set_up(database, events=EVENTS, cases=5_000)
    rig = RestoreRig(database, opened(home / "incident"))
    rig.systems.database.prepare()
    make_backup(rig.systems, rig.backup, incident=rig.incident, actor="bench")
    dump_plainly(database, home / "backup.sql")
    return Origin(database, rig.backup, home / "backup.sql", rig.query(DIGEST))


def damaged_copy(origin: Origin, name: str, folder: Path) -> RestoreRig:
    with psycopg.connect(origin.database.server.url(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {origin.database.name} OWNER churn_owner")
    rig = RestoreRig(ServiceDatabase(origin.database.server, name, origin.database.passwords), opened(folder / name))
    shutil.copytree(origin.backup, rig.backup)
    damage_settings(rig)
    with psycopg.connect(rig.database.admin_url) as conn:
        conn.execute("UPDATE events SET membership_id = 'mem_wrong'")
        xid = conn.execute("SELECT xmin::text FROM events LIMIT 1").fetchone()
    assert xid is not None
    rig.damage = (*rig.damage, Damage("events", ("membership_id",), None, (xid[0],)))
    rig.query("VACUUM ANALYZE")
    rig.query("CHECKPOINT")
    return rig


def measured(rig: RestoreRig, origin: Origin, restore: Callable[[], tuple[float, float]]) -> Measured:
    """With the client at work. `restore` returns the seconds before the swap, and those of its merge."""
    client = Client(rig.database)
    client.start()
    wait_until(lambda: len(client.acknowledged) > WARM, within=60, what="the client to write")
    began = time.monotonic()
    beside, merging = restore()
    seconds = time.monotonic() - began
    client.end()
    with psycopg.connect(rig.database.admin_url) as conn:
        there = {row[0] for row in conn.execute("SELECT whop_event_id FROM events WHERE whop_event_id ~ '^evt_bench'")}
    lost, settings = set(client.acknowledged) - there, rig.query(WRONG_SETTINGS)[0][0]
    found = rig.query(DIGEST)
    wrong = settings + (max(1, found[0][0]) if found != origin.digest else 0)
    return Measured(seconds, client.longest_gap_s, len(lost), wrong, beside, merging)


def by_script(rig: RestoreRig, dump: Path) -> tuple[float, float]:
    words = [rig.database.server.binaries.program("psql"), "-X", "-q", "-o", os.devnull, rig.database.admin_url]
    with dump.open("rb") as content:
        subprocess.run(words, stdin=content, stderr=subprocess.DEVNULL, check=False)
    return 0.0, 0.0


def by_us(rig: RestoreRig, way: Way, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    merging: list[float] = []

    def timed(*words: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return carry(*words, **named)
        finally:
            merging.append(time.monotonic() - began)

    carry = swap_schemas.carry
    for module in (swap_schemas, swap_databases, reload):
        monkeypatch.setattr(module, "carry", timed)
    began = time.monotonic()
    rig.beside(way).act()
    beside = time.monotonic() - began
    rig.swap(way).act()
    return beside, merging[-1]


def test_bench_time_without_writes(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = damaged_copy(origin, "by_script", tmp_path)
    script = measured(rig, origin, lambda: by_script(rig, origin.dump))
    ways: dict[Way, Measured] = {}
    for way in get_args(Way):
        rig = damaged_copy(origin, f"by_{way}", tmp_path)
        ways[way] = measured(rig, origin, lambda rig=rig, way=way: by_us(rig, way, monkeypatch))
    console = Console(width=120)
    console.print(told(script, ways))
    missed = {way: why for way, each in ways.items() if (why := not_met(way, each, script))}
    for way, why in missed.items():
        console.print(f"by {way}: {'; '.join(why)}")
    assert all((each.lost, each.wrong) == (0, 0) for each in ways.values())
    require_met(not missed)


def told(script: Measured, ways: dict[Way, Measured]) -> Table:
    title = f"{EVENTS:,} events"
    table = Table(title, "in all", "before the swap", "without writes", "merge in it", "acknowledged lost", "wrong")
    for name, each in (("script: psql < backup.sql", script), *((f"by {way}", each) for way, each in ways.items())):
        times = (each.seconds, each.beside_s, each.gap_s, each.merge_s)
        table.add_row(name, *(f"{value:.2f} s" for value in times), str(each.lost), str(each.wrong))
    return table


def not_met(way: Way, each: Measured, script: Measured) -> list[str]:
    """The target for each way; a second beside the merge where the planner's first choice is to be had."""
    found, ratio, beyond = [], script.gap_s / each.gap_s, each.gap_s - each.merge_s
    if ratio < TIMES_LESS:
        found.append(f"without writes {ratio:.1f} times less than the script, at least {TIMES_LESS}: NOT MET")
    if way == "schemas" and beyond > TARGET_S:
        found.append(f"{beyond:.2f} s beside the merge, at most {TARGET_S:g}: NOT MET")
    return found

"""`make bench`: Type 1's own time beside `psql -1 -f down.sql`, on copies of one database of two million events.

All take the same migration back: a column of events that has a value in every row. What the engine does beyond that
stands apart: salvage, backup, rehearsal and the comparison of schemas.
"""

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from rich.console import Console
from rich.table import Table
from two_million import EVENTS, VERSION, Seeded, met, require_met, two_million

from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS
from toolkit.rollback.backup import make_backup
from toolkit.rollback.built_schema import live_against_built
from toolkit.rollback.rehearsal import rehearse
from toolkit.rollback.scratch import scratch_server
from toolkit.rollback.steps.run_down import RunningDown

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "rollback_engine"))
from downs import Migrated
from restore_fixtures import opened

ROUNDS, AT_MOST_MORE_S = 3, 2.0
BAD = VERSION + 1
UP = "ALTER TABLE events ADD COLUMN origin text;\nUPDATE events SET origin = 'from ' || type;\n"
DOWN = "ALTER TABLE events DROP COLUMN origin;\n"
STATED = f"UPDATE schema_migrations SET version = {VERSION};\n"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seeded, Path]]:
    """The database with the bad migration applied, and the folder of its migrations."""
    folder = tmp_path_factory.mktemp("service") / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=lambda _, names: [n for n in names if n[:3] > f"{VERSION:03}"])
    with two_million() as made:
        Migrated(made.service, folder.parent).apply(BAD, UP, DOWN)
        with psycopg.connect(made.service.admin_url, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE events")
            conn.execute("CHECKPOINT")
        yield made, folder


class Unsalvaged(RunningDown):
    """The down as psql runs it: what it destroys is gone."""

    salvages = False


def seconds(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def by_psql(copy: ServiceDatabase, folder: Path) -> float:
    script = folder.parent / "down.sql"
    script.write_text(DOWN + STATED)
    words = [copy.server.binaries.program("psql"), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", script]
    return seconds(lambda: subprocess.run([*words, copy.owner_url], check=True))


def by_engine(kind: type[RunningDown]) -> Callable[[ServiceDatabase, Path], float]:
    """As the runner does a step: look, act, look."""

    def run(copy: ServiceDatabase, folder: Path) -> float:
        migrated = Migrated(copy, folder.parent)
        try:
            step = kind(migrated.down(BAD).action, migrated.down(BAD).around)
            took = seconds(lambda: (step.look(), step.act(), step.look()))
            assert migrated.version() == [(VERSION, False)]
            kept = sum(each.rows for each in migrated.salvaged())
            assert kept == (EVENTS if kind.salvages else 0)
        finally:
            migrated.close()
        return took

    return run


WAYS = {
    "psql -1 -f down.sql": by_psql,
    "the engine, salvage apart": by_engine(Unsalvaged),
    "the engine": by_engine(RunningDown),
}


def test_bench_migration_rollback(seeded: tuple[Seeded, Path], tmp_path: Path) -> None:
    made, folder = seeded
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            with made.copied("bench_round") as copy:
                taken[name].append(way(copy, folder))
    psql, bare, whole = (statistics.median(times) for times in taken.values())
    table = Table("one migration back", f"{EVENTS:,} events, median of {ROUNDS}")
    for name, took in (*zip(WAYS, (psql, bare, whole), strict=True), *apart(made, folder, tmp_path)):
        table.add_row(name, f"{took:.2f} s")
    console = Console(width=100)
    console.print(table)
    said = f"{bare - psql:.2f} s more than psql, at most {AT_MOST_MORE_S:g}: {met(bare - psql <= AT_MOST_MORE_S)}"
    console.print(f"{said}; salvage {whole - bare:.2f} s")
    require_met(bare - psql <= AT_MOST_MORE_S)


def apart(made: Seeded, folder: Path, tmp_path: Path) -> Iterator[tuple[str, float]]:
    """What surrounds the step, each once: the copy is backed up, rehearsed on, rolled back and compared."""
    with made.copied("bench_apart") as copy:
        migrated = Migrated(copy, folder.parent)
        migrated.systems.database.prepare()
        incident, plan = opened(tmp_path / "incident"), migrated.down(BAD).around.plan
        backed_up = lambda: make_backup(migrated.systems, incident.folder / "backup", incident=incident, actor="bench")  # noqa: E731
        yield "apart: backup with fingerprints", seconds(backed_up)
        rehearsal = rehearse(plan, migrated.systems, incident, actor="bench")
        assert not rehearsal.why
        yield "apart: rehearsal (restore, proof, the step, verification)", rehearsal.seconds
        migrated.take_back(BAD)
        with scratch_server(like=plan.server) as scratch:
            compared = seconds(lambda: live_against_built(migrated.systems, scratch, VERSION))
        yield "apart: comparison with the schema that migrations make", compared
        migrated.close()

"""`make bench`: what proof costs, on two million events. Each pair side by side, in turn, in one process.

A backup with the fingerprints of all tables and the checksums of all files against a bare pg_dump with the same flags;
native fingerprints against a `count(*)` that reads the same rows (one that an index answers alone is shown beside it,
and says how lately the table was vacuumed), and against `reladiff -c %` over the same two tables.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console
from two_million import EVENTS, Seeded, met, require_met, two_million

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import Database
from toolkit.playbook import load_playbook
from toolkit.rollback.backup.aside import keep_private
from toolkit.rollback.backup.database_dump import JOBS, PLAIN, DatabaseDump, wanted_schemas
from toolkit.rollback.backup.manifest import checksums
from toolkit.rollback.blocking import Patience
from toolkit.verify.fingerprints import TableFingerprint, fingerprint

ROUNDS = 5
MOST_OF_DUMP, MOST_OF_COUNT, LEAST_OF_RELADIFF = 1.5, 10.0, 4.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seeded() -> Iterator[Seeded]:
    with two_million() as made:
        yield made


def seconds(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def in_turn(one: Callable[[], object], other: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Medians of both in seconds, and of the ratio of each pair. Each is run once before, unmeasured."""
    one(), other()
    pairs = [(seconds(one), seconds(other)) for _ in range(rounds)]
    return (*(statistics.median(pair[part] for pair in pairs) for part in (0, 1)), _ratio(pairs))


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(one / other for one, other in pairs)


def tell(text: str) -> None:
    load = os.getloadavg()[0]
    Console(width=120).print(f"{text}  [load {load:.1f} on {os.cpu_count()} cores]")


def test_bench_backup_against_bare_pg_dump(seeded: Seeded, tmp_path: Path) -> None:
    playbook, tools = load_playbook(ROOT / "playbook.toml"), PgTools.found(None)
    with seeded.database.reading() as conn:
        schemas, _ = wanted_schemas(conn, playbook)
    flags = ["--format=directory", f"--jobs={JOBS}", f"--compress={PLAIN}", "--no-password"]
    flags += [f"--schema={schema}" for schema in schemas]
    environment = dict(os.environ) | seeded.database.libpq()

    def bare() -> None:
        shutil.rmtree(tmp_path / "bare", ignore_errors=True)
        dump = [tools.binaries.program("pg_dump"), *flags, "--file", tmp_path / "bare"]
        subprocess.run(dump, env=environment, check=True)

    def ours() -> None:
        shutil.rmtree(tmp_path / "ours", ignore_errors=True)
        (tmp_path / "ours").mkdir()
        dump = DatabaseDump(seeded.database, playbook, tools, Patience())
        made = dump.into(tmp_path / "ours" / "database", compression=PLAIN)
        assert made.tables["events"].digest and not made.unproved
        files = checksums(tmp_path / "ours", dump.measured)
        keep_private(tmp_path / "ours")
        assert sum(each.rows or 0 for each in files.values()) > EVENTS

    with_proof, without, ratio = in_turn(ours, bare)
    size = sum(file.stat().st_size for file in (tmp_path / "bare").iterdir()) / 1e6
    tell(
        f"backup of {size:,.0f} MB: with fingerprints and checksums {with_proof:.1f} s, bare pg_dump {without:.1f} s, "
        f"ratio {ratio:.2f}, at most {MOST_OF_DUMP}: {met(ratio <= MOST_OF_DUMP)}"
    )
    require_met(ratio <= MOST_OF_DUMP)


def test_bench_fingerprint_against_count(seeded: Seeded) -> None:
    def taken() -> None:
        with seeded.database.reading(within_ms=0) as conn:
            fingerprint(conn, "events")

    def counted(index_only: str) -> None:
        with seeded.database.reading(within_ms=0) as conn:
            conn.execute("SELECT set_config('enable_indexonlyscan', %s, true)", (index_only,))
            conn.execute("SELECT count(*) FROM events").fetchone()

    hashed_s, counted_s, ratio = in_turn(taken, lambda: counted("off"))
    beside_s = statistics.median(seconds(lambda: counted("on")) for _ in range(ROUNDS))
    tell(
        f"fingerprint of {EVENTS:,} rows {hashed_s:.2f} s, count(*) of the rows {counted_s:.2f} s (where an index may "
        f"answer {beside_s:.2f} s), ratio {ratio:.1f}, at most {MOST_OF_COUNT:g}: {met(ratio <= MOST_OF_COUNT)}"
    )
    require_met(ratio <= MOST_OF_COUNT)


def test_bench_fingerprints_against_reladiff(seeded: Seeded, tmp_path: Path) -> None:
    program = installed_reladiff(tmp_path)
    with seeded.copied("bench_copy") as copy:
        both = [Database(SecretStr(each.toolkit_url), target="bench") for each in (seeded.service, copy)]

        def native() -> None:
            with ThreadPoolExecutor(2) as pool:
                one, other = pool.map(_fingerprint, both)
            assert one == other

        def reladiff() -> None:
            # The URLs of a throw-away server; reladiff knows no other way to be told them.
            urls = [seeded.service.toolkit_url, copy.toolkit_url]
            words = [program, urls[0], "events", urls[1], "events", "-k", "id", "-c", "%"]
            done = subprocess.run(words, capture_output=True, text=True)
            assert (done.returncode, done.stdout) == (0, ""), done.stderr[-500:]

        theirs, taken, ratio = in_turn(reladiff, native, rounds=3)
    tell(
        f"are two tables equal: native {taken:.2f} s, reladiff -c % {theirs:.2f} s, {ratio:.1f} times faster, "
        f"at least {LEAST_OF_RELADIFF:g}: {met(ratio >= LEAST_OF_RELADIFF)}"
    )
    require_met(ratio >= LEAST_OF_RELADIFF)


def _fingerprint(database: Database) -> TableFingerprint:
    with database.reading(within_ms=0) as conn:
        return fingerprint(conn, "events")


def installed_reladiff(folder: Path) -> Path:
    """In an environment of its own: it is a yardstick and no dependency. Skips, and says so, where it cannot be had."""
    home = folder / "reladiff"
    try:
        subprocess.run([sys.executable, "-m", "venv", home], check=True, capture_output=True)
        install = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "reladiff[postgresql]"]
        subprocess.run(install, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        Console().print(f"reladiff could not be installed ({type(error).__name__}): its comparison is SKIPPED")
        pytest.skip("reladiff could not be installed")
    return home / "bin" / "reladiff"

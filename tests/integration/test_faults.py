"""Faults are real, end with the sandbox, and can be undone as the scenario says; each looked at from outside."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from toolkit.clock import wait_until
from toolkit.drill.fault_kinds import Backups, Disk
from toolkit.drill.faults import inject, put_in, undo
from toolkit.drill.hypothesis import figures, look
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.scenario import Scenario, load_scenario
from toolkit.drill.state import SandboxOptions
from toolkit.errors import UsageError


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with started("own", tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """For faults that are undone."""
    with started("all", tmp_path_factory.mktemp("patient")) as running:
        yield running


def started(name: str, folder: Path) -> Sandbox:
    options = SandboxOptions(evidence=folder / "evidence", events=200, cases=50, traffic=False, monitor=False)
    return Sandbox.start(f"test-{os.getpid()}-faults-{name}", options, attached=True)


def sessions(sandbox: Sandbox, program: str) -> list[tuple[str, str | None]]:
    query = "SELECT state, wait_event_type FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(sandbox.state.admin_url, autocommit=True) as conn:
        return conn.execute(query, (program,)).fetchall()


def holders(sandbox: Sandbox) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [each for each in found if str(sandbox.home) in " ".join(each.info["cmdline"] or []) and _holds(each)]


def _holds(process: psutil.Process) -> bool:
    return "toolkit.drill.faults.sessions" in " ".join(process.info["cmdline"] or [])


def test_a_queue_forms_behind_a_forgotten_transaction_and_is_gone_when_its_head_is_ended(sandbox: Sandbox) -> None:
    scenario = load_scenario("lock-queue")
    inject(scenario, sandbox.state)
    assert sessions(sandbox, "weekly-report") == [("idle in transaction", "Client")]
    assert sessions(sandbox, "migrate") == [("active", "Lock")]
    impatient = psycopg.connect(sandbox.state.admin_url, options="-c lock_timeout=200ms")
    with impatient as conn, pytest.raises(psycopg.errors.LockNotAvailable):
        conn.execute("SELECT FROM recovery_cases LIMIT 1")
    undo(scenario, sandbox.state)
    wait_until(lambda: not sessions(sandbox, "migrate"), within=10, what="the migration's session to end")
    with psycopg.connect(sandbox.state.admin_url, options="-c lock_timeout=2s") as conn:
        conn.execute("SELECT FROM recovery_cases LIMIT 1")
    assert sessions(sandbox, "weekly-report"), "the report may go on"
    wait_until(lambda: len(holders(sandbox)) == 1, within=10, what="whoever held the ended session to end")
    [left] = holders(sandbox)
    sandbox.stop()
    wait_until(lambda: not left.is_running(), within=15, what="who holds sessions to end with the sandbox")


def test_no_connection_is_left_until_the_leak_is_ended(patient: Sandbox) -> None:
    scenario = load_scenario("connection-exhaustion")
    inject(scenario, patient.state)
    wait_until(lambda: refused(patient), within=10, what="the leak to take the last connection")
    undo(scenario, patient.state)
    wait_until(lambda: not sessions(patient, "export-job"), within=15, what="the leak to end")
    psycopg.connect(patient.state.database_url).close()


def refused(sandbox: Sandbox) -> bool:
    try:
        psycopg.connect(sandbox.state.database_url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return True
    return False


@pytest.mark.parametrize("name", ["database-down", "database-unreachable"])
def test_a_server_lets_nobody_in_until_its_host_has_put_it_right(name: str, patient: Sandbox) -> None:
    scenario = load_scenario(name)
    inject(scenario, patient.state)
    wait_until(lambda: refused(patient), within=10, what="the server to let nobody in")
    undo(scenario, patient.state)
    with psycopg.connect(patient.state.database_url) as conn:
        assert conn.execute("SELECT count(*) FROM events").fetchone() == (200,)


@pytest.mark.parametrize(("newest", "smaller"), [("truncated", True), ("empty", True)])
def test_a_spoiled_backup_keeps_its_name_and_an_older_one_is_whole(
    newest: str, smaller: bool, sandbox: Sandbox
) -> None:
    [whole] = sandbox.state.backups.iterdir()
    content = whole.read_bytes()
    put_in(Backups(kind="backups", newest=newest, commit=""), load_scenario("gitlab-2017"), sandbox.state)
    older, spoiled = sorted(sandbox.state.backups.iterdir())
    assert spoiled == whole and older.read_bytes() == content
    assert (len(spoiled.read_bytes()) < len(content)) is smaller


def test_a_small_disk_is_let_go_of_with_the_sandbox(sandbox: Sandbox) -> None:
    scenario = load_scenario("disk-full")
    try:
        put_in(Disk(kind="disk", table="events", megabytes=16, commit=""), scenario, sandbox.state)
    except UsageError as refused:
        pytest.skip(refused.what)
    place = sandbox.home / "disk"
    assert place.is_mount()
    with psycopg.connect(sandbox.state.owner_url, autocommit=True) as conn, pytest.raises(psycopg.errors.DiskFull):
        conn.execute("CREATE TABLE large TABLESPACE small AS SELECT repeat('x', 900) FROM generate_series(1, 40000)")
    sandbox.stop()
    assert not place.is_mount() and not sandbox.home.exists()


def test_a_given_server_is_neither_killed_nor_mounted_upon(patient: Sandbox) -> None:
    given = patient.state.model_copy(
        update={"options": patient.state.options.model_copy(update={"database_url_env": "DATABASE_URL"})}
    )
    for name in ("database-down", "disk-full"):
        with pytest.raises(UsageError, match=r"needs the sandbox's own server.*nothing was done"):
            inject(load_scenario(name), given)
    with psycopg.connect(patient.state.database_url) as conn:
        assert conn.execute("SELECT version FROM schema_migrations").fetchone() == (8,)


def test_what_cannot_be_seen_is_unknown(patient: Sandbox) -> None:
    """Without traffic nothing is said of requests, and a question that fails is told with the server's words."""
    probe = {"what": "", "ask": "SELECT missing FROM events", "tolerance": "true"}
    scenario = Scenario.model_validate(load_scenario("lock-queue").model_dump() | {"hypothesis": {"probes": [probe]}})
    looked = look(scenario.hypothesis, patient.state, figures(scenario.hypothesis, patient.state))
    assert [each.holds for each in looked] == [None, None, False, None]
    assert "missing" in looked[-1].seen

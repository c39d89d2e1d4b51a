"""No process outlives its sandbox, however that ends; a leftover never hinders the next start."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from toolkit.adapters.systems import connect
from toolkit.clock import wait_until
from toolkit.drill.faults import inject
from toolkit.drill.sandbox import Sandbox, clear_leftovers, running_sandboxes
from toolkit.drill.scenario import load_scenario
from toolkit.drill.state import SandboxOptions
from toolkit.drill.steady import record_steady_state
from toolkit.errors import DatabaseError, PlatformError, ToolkitError, UsageError
from toolkit.places import sandbox_home
from toolkit.playbook import load_playbook
from toolkit.rollback.pair import role_of

OWNER = """
import sys, pathlib
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
with Sandbox.start(sys.argv[1], SandboxOptions(evidence=pathlib.Path(sys.argv[2]), events=50, cases=20), attached=True):
    print("up", flush=True)
    sys.stdin.read()
"""

STARTER = """
import sys, pathlib
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
options = SandboxOptions(evidence=pathlib.Path(sys.argv[2]), events=50, cases=20)
Sandbox.start(sys.argv[1], options, attached=False, progress=lambda part: print(part, flush=True))
"""


def options(folder: Path, **more) -> SandboxOptions:
    return SandboxOptions(evidence=folder, events=50, cases=20, **more)


def belongings(name: str) -> list[psutil.Process]:
    """Every process of that sandbox: they all name its folder or were started by one that does."""
    home = str(sandbox_home(name))
    found = [
        each for each in psutil.process_iter(["cmdline"]) if any(home in word for word in each.info["cmdline"] or [])
    ]
    for each in list(found):
        with suppress(psutil.NoSuchProcess):  # it may end while it is looked at
            found += each.children(recursive=True)
    return found


def command_line(process: psutil.Process) -> str:
    """What everybody on the machine can read of it; '' when it has ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def wait_until_gone(processes: list[psutil.Process]) -> None:
    wait_until(lambda: not any(each.is_running() for each in processes), within=20, what="every process to end")


@pytest.fixture
def own_temporary_folder(monkeypatch: pytest.MonkeyPatch):
    """A runtime home of its own: a start elsewhere would clear up the leftover before this test has seen it."""
    with tempfile.TemporaryDirectory(prefix="rd-") as folder:
        Path(folder).chmod(0o711)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def owned(tmp_path: Path, own_temporary_folder: None):
    """A sandbox whose owner is a process that a test may kill."""
    name = f"test-{os.getpid()}-owned"
    argv = [sys.executable, "-c", OWNER, name, str(tmp_path / "evidence")]
    owner = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdin and owner.stdout
    assert owner.stdout.readline() == "up\n"
    yield name, owner
    owner.kill()
    owner.wait(10)
    owner.stdin.close()
    owner.stdout.close()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.soak), signal.SIGTERM]
)
def test_everything_ends_with_the_owner(owned, number: signal.Signals) -> None:
    name, owner = owned
    processes = belongings(name)
    assert len(processes) > 5
    os.kill(owner.pid, number)
    wait_until_gone(processes)
    wait_until(lambda: not sandbox_home(name).exists(), within=10, what="the folder to be removed")


def test_everything_ends_with_a_killed_keeper_and_the_next_start_clears_up(owned, tmp_path: Path) -> None:
    name, _owner = owned
    processes = belongings(name)
    keeper = next(each for each in processes if "toolkit.drill.keeper" in each.cmdline())
    keeper.kill()
    wait_until_gone([each for each in processes if each.pid != keeper.pid])
    assert sandbox_home(name).exists()
    clear_leftovers()
    assert not sandbox_home(name).exists()
    with Sandbox.start(name, options(tmp_path / "again", traffic=False), attached=True) as sandbox:
        assert httpx.get(f"{sandbox.state.service_url}/api/health/db").json()["tablesCount"] == 3


def test_two_run_side_by_side_and_one_name_runs_once(tmp_path: Path) -> None:
    first, second = (f"test-{os.getpid()}-{which}" for which in ("first", "second"))
    with (
        Sandbox.start(first, options(tmp_path / "1", traffic=False), attached=True) as one,
        Sandbox.start(second, options(tmp_path / "2", traffic=False), attached=True) as two,
    ):
        assert one.state.service_url != two.state.service_url
        assert {first, second} <= {state.name for state in running_sandboxes()}
        with pytest.raises(UsageError, match="runs already"):
            Sandbox.start(first, options(tmp_path / "3"), attached=True)
    assert {first, second}.isdisjoint({state.name for state in running_sandboxes()})


def test_a_detached_one_lives_on_until_it_is_stopped(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}-detached"
    Sandbox.start(name, options(tmp_path), attached=False)
    found = Sandbox.find(name)
    processes = belongings(name)
    found.stop_traffic()
    found.stop()
    wait_until_gone(processes)
    assert (tmp_path / "ledger.sqlite").exists()
    with pytest.raises(UsageError, match="No sandbox"):
        Sandbox.find(name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_detached_one_whose_start_is_broken_off_does_not_come_up(
    tmp_path: Path, own_temporary_folder: None, number: signal.Signals
) -> None:
    name = f"test-{os.getpid()}-broken-off"
    argv = [sys.executable, "-c", STARTER, name, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as starter:
        assert starter.stdout and "schema and data\n" in iter(starter.stdout.readline, "")
        processes = belongings(name)
        assert processes
        starter.send_signal(number)
        starter.wait(20)
        if number == signal.SIGINT:
            assert not belongings(name), "it waits for the end of what it began"
        wait_until_gone(processes)
        wait_until(lambda: not sandbox_home(name).exists(), within=10, what="the folder to be removed")


def test_a_part_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}-dying"
    with Sandbox.start(name, options(tmp_path), attached=True) as sandbox:
        sandbox.check()
        assert sandbox.state.senders_pid is not None
        (sandbox.home / "senders.log").write_text("senders: The ledger cannot be written: disk is full.\n\n")
        os.kill(sandbox.state.senders_pid, signal.SIGKILL)
        told = r"The sandbox's senders ended with -9: senders: The ledger cannot be written: disk is full"
        with pytest.raises(ToolkitError, match=told):
            wait_until(sandbox.check, within=10, what="the keeper to notice")
        wait_until(lambda: measured_nothing(sandbox), within=20, what="a window without requests")


def measured_nothing(sandbox: Sandbox) -> bool:
    """Whether a steady state is refused, because the senders are dead. The first window may hold their last."""
    try:
        record_steady_state(sandbox.state, 0.5)
    except ToolkitError as error:
        return "The sandbox's senders ended" in str(error)
    return False


def test_its_variables_are_the_playbooks_and_its_files_are_private(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}-private"
    with Sandbox.start(name, options(tmp_path, traffic=False), attached=True) as sandbox:
        target = load_playbook().target("sandbox", {"TOOLKIT_SANDBOX": name})
        assert target.database_url.get_secret_value() == sandbox.state.database_url
        for file in sandbox.home.glob("*.json"):
            assert file.stat().st_mode & 0o077 == 0, f"{file.name} can be read by others"
        commands = " ".join(command_line(each) for each in belongings(name))
        assert "toolkit.drill.keeper" in commands and "toolkit.drill.senders" not in commands
        secrets = [sandbox.state.vercel_token, sandbox.state.webhook_secret, sandbox.state.cron_secret]
        assert not any(secret in commands for secret in [*secrets, "postgresql://"])


def test_each_deployment_asks_the_database_as_a_role_of_its_own(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}-roles"
    with Sandbox.start(name, options(tmp_path, traffic=False, monitor=False), attached=True) as sandbox:
        book = load_playbook()
        systems = connect(book, book.target("sandbox", {"TOOLKIT_SANDBOX": name}))
        first = systems.platform.production(systems.production_host)
        again = systems.platform.create_deployment(name="churn-saver", meta={"schemaVersion": "8"}, within=15)
        systems.platform.promote(first.id, within=15)
        expected = {each.id: role_of(book.database, each.id, each.schema_version) for each in (first, again)}
        assert all(role and id_ in role and len(role) < 63 for id_, role in expected.items())
        with psycopg.connect(sandbox.state.admin_url, autocommit=True) as conn:
            asked = "SELECT DISTINCT application_name, usename::text FROM pg_stat_activity WHERE usename LIKE 'app_%'"
            wait_until(
                lambda: dict(conn.execute(asked).fetchall()) == expected, within=10, what="each to ask as itself"
            )
            members = "SELECT count(*) FROM pg_auth_members WHERE roleid = 'churn_app'::regrole"
            assert conn.execute(members).fetchone() == (6,), "five deployments that were built, and the toolkit"
            conn.execute("ALTER ROLE churn_app RENAME TO elsewhere")
        with pytest.raises(PlatformError, match="ERROR"):
            systems.platform.create_deployment(name="churn-saver", meta={"schemaVersion": "8"}, within=15)
        systems.platform.close()
        systems.service.close()


def test_what_is_broken_already_is_not_broken_again_and_a_dead_part_is_told(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}-breaking"
    half, irreversible, ordinary = map(
        load_scenario, ("half-applied-migration", "irreversible-migration", "breaking-migration")
    )
    with Sandbox.start(name, options(tmp_path, traffic=False, monitor=False), attached=True) as sandbox:
        before = contents(sandbox.state.migrations)
        inject(irreversible, sandbox.state)
        released = contents(sandbox.state.migrations)
        assert released != before
        for again in (irreversible, ordinary, half):
            with pytest.raises(UsageError, match=r"at migration 8; that of .* is at 9\. State: nothing was done"):
                inject(again, sandbox.state)
        assert contents(sandbox.state.migrations) == released
        with psycopg.connect(sandbox.state.owner_url) as conn:
            conn.execute("UPDATE schema_migrations SET version = 8")
        inject(half, sandbox.state)
        with pytest.raises(UsageError, match=r"is at 9, dirty"):
            inject(half, sandbox.state)
        with psycopg.connect(sandbox.state.owner_url) as conn:
            conn.execute("UPDATE schema_migrations SET version = 8, dirty = false")
        with pytest.raises(DatabaseError, match="Migration 009_"):  # what the others left is in its way
            inject(ordinary, sandbox.state)
        assert contents(sandbox.state.migrations) == before, "it brings its own migration, not that of the last one"
        os.kill(next(each.pid for each in belongings(name) if is_platform(each)), signal.SIGKILL)
        with pytest.raises(PlatformError):
            inject(load_scenario("bad-deployment"), sandbox.state)
        gone = sandbox.state.model_copy(update={"owner_url": "postgresql://churn_owner@127.0.0.1:1/churn"})
        with pytest.raises(DatabaseError, match="The sandbox's database refused"):
            inject(ordinary, gone)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def is_platform(process: psutil.Process) -> bool:
    return "toolkit.drill.platform" in command_line(process)


def test_one_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"test-{os.getpid()}-broken"
    monkeypatch.setenv("PG_BINDIR", str(tmp_path))
    with pytest.raises(UsageError, match=r"There is no initdb in .* Next: set PG_BINDIR") as refused:
        Sandbox.start(name, options(tmp_path), attached=True)
    assert refused.value.exit_code == 2
    assert not sandbox_home(name).exists() and not belongings(name)


def test_one_whose_platform_dies_says_what_killed_it(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}-platform"
    (tmp_path / "service.log").mkdir()
    with pytest.raises(ToolkitError, match=r"did not come up: The sandbox's platform ended with 1: IsADirectoryError"):
        Sandbox.start(name, options(tmp_path), attached=False)
    assert not sandbox_home(name).exists() and not belongings(name)


@pytest.mark.parametrize("name", ["", "../up", "a b", "x" * 70])
def test_a_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a sandbox"):
        sandbox_home(name)


def test_a_clone_is_filled_as_another_is_and_has_passwords_of_its_own(own_temporary_folder, tmp_path: Path) -> None:
    """Both on copies of a folder that is made once."""
    count = (
        "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM recovery_cases), version FROM schema_migrations"
    )
    rows, secrets, kept = [], set(), []
    for name in ("one", "other"):
        wanted = options(tmp_path / name, cloned=True, traffic=False, monitor=False)
        with Sandbox.start(f"clone-{name}-{os.getpid()}", wanted, attached=True) as sandbox:
            state = sandbox.state
            with psycopg.connect(state.database_url) as conn:
                rows += conn.execute(count).fetchall()
            secrets |= {url.partition("@")[0] for url in (state.database_url, state.admin_url, state.owner_url)}
            kept.append([(each.name, each.stat().st_mtime_ns) for each in sandbox.home.parent.glob("filled-*-*")])
    assert rows == [(50, 20, 8)] * 2
    assert len(secrets) == 6, "a clone has the other's passwords"
    assert kept[0] == kept[1] and len(kept[0]) == 1

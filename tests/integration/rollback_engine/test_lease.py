"""One operator at a time: on a real server, among real processes, with holders that are dead, paused or busy.

Also a program: `python test_lease.py` says that it is ready, waits for a line, tries to take the lease of the database
in DATABASE_URL, prints what came of it, and stays until its input ends.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import DatabaseError, RollbackError, ToolkitError, UsageError
from toolkit.lifeline import Lifeline
from toolkit.rollback import lease as leases
from toolkit.rollback.lease import Held, Lease, holder_of

OPERATORS = 6


@pytest.fixture
def database(churn_database: ServiceDatabase) -> Database:
    return Database(SecretStr(churn_database.toolkit_url), target="sandbox")


@pytest.fixture
def admin(churn_database: ServiceDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(churn_database.admin_url, autocommit=True) as conn:
        yield conn


def take(database: Database, incident: str = "inc-1", plan: str = "plan-1", **more: object) -> Lease:
    return Lease.acquire(database, incident=incident, plan=plan, holder="ada", **more)


def age(admin: psycopg.Connection, seconds: float) -> None:
    """As if the lease had last been renewed that long ago."""
    admin.execute("UPDATE toolkit.lease SET renewed_at = now() - make_interval(secs => %s)", (seconds,))


def held_by(admin: psycopg.Connection, **columns: object) -> None:
    """As if somebody else held it."""
    for name, value in columns.items():
        admin.execute(
            psycopg.sql.SQL("UPDATE toolkit.lease SET {} = %s").format(psycopg.sql.Identifier(name)), (value,)
        )


def a_dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_nobody_holds_it_before_the_first_and_after_the_release(database: Database) -> None:
    assert holder_of(database) is None
    lease = take(database)
    held = holder_of(database)
    assert isinstance(held, Held)
    assert (held.holder, held.pid, held.incident, held.plan) == ("ada", os.getpid(), "inc-1", "plan-1")
    lease.release()
    assert holder_of(database) is None


def test_a_second_operator_is_told_who_where_since_when_and_how(database: Database) -> None:
    take(database)
    with pytest.raises(RollbackError) as raised:
        Lease.acquire(database, incident="inc-2", plan="plan-2", holder="bob")
    held = holder_of(database)
    assert held is not None
    said = str(raised.value)
    for part in ("ada", held.host, f"pid {os.getpid()}", "inc-1", "plan-1", "last renewed", "--take-over REASON"):
        assert part in said
    assert held.token == 1


def test_the_token_only_grows(database: Database) -> None:
    tokens = []
    for _ in range(3):
        lease = take(database)
        tokens.append(lease.token)
        lease.release()
    assert tokens == [1, 2, 3]


@pytest.mark.parametrize(
    ("incident", "idle_s", "more", "taken"),
    [
        ("inc-1", 3600, {}, True),
        ("inc-2", 3600, {}, False),
        ("inc-2", 3600, {"take_over": True}, True),
        ("inc-1", 0, {}, False),
        ("inc-1", 0, {"take_over": True, "reason": "her machine burns"}, True),
        ("inc-2", 0, {"take_over": True, "reason": "her machine burns"}, True),
    ],
)
def test_who_may_take_over_from_another_machine(
    database: Database, admin: psycopg.Connection, incident: str, idle_s: float, more: dict[str, object], taken: bool
) -> None:
    take(database)
    held_by(admin, machine="another")
    age(admin, idle_s)
    if taken:
        lease = take(database, incident, **more)
        assert (lease.token, lease.took_over and lease.took_over.incident) == (2, "inc-1")
        assert lease.reason == more.get("reason", "")
    else:
        with pytest.raises(RollbackError, match="Somebody else is at work"):
            take(database, incident, **more)


def test_a_live_one_is_not_displaced_without_a_reason(database: Database) -> None:
    take(database)
    with pytest.raises(UsageError, match="only with a reason"):
        take(database, "inc-2", take_over=True)


def test_a_dead_process_of_this_machine_is_taken_over_at_once(database: Database, admin: psycopg.Connection) -> None:
    take(database)
    held_by(admin, pid=a_dead_pid())
    assert take(database).token == 2
    held_by(admin, pid=a_dead_pid())
    with pytest.raises(RollbackError, match="seems to be dead"):
        take(database, "inc-2")


def test_an_old_holder_that_comes_back_cannot_act(database: Database, admin: psycopg.Connection) -> None:
    old = take(database)
    age(admin, 3600)
    new = take(database)
    with database.writing() as conn:
        new.guard(conn)
    with pytest.raises(RollbackError, match="held by ada"), database.writing() as conn:
        old.guard(conn)
    with pytest.raises(RollbackError, match="no longer holds the right to act"):
        old.renew()
    old.release()  # which is not his to give back any more
    held = holder_of(database)
    assert held is not None and held.token == new.token


def test_after_the_release_nothing_is_guarded(database: Database) -> None:
    lease = take(database)
    lease.release()
    with pytest.raises(RollbackError, match="nobody holds it"), database.writing() as conn:
        lease.guard(conn)


def test_a_take_over_waits_for_the_guarded_transaction(database: Database, admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE steps (what text); GRANT ALL ON steps TO toolkit")
    old = take(database)
    with ThreadPoolExecutor(1) as threads:
        with database.writing() as conn:
            old.guard(conn)
            age(admin, 3600)
            taking = threads.submit(take, database)
            wait_until(lambda: waiting_for_a_lock(admin), within=10, what="the take-over to wait")
            assert not taking.done()
            conn.execute("INSERT INTO steps VALUES ('of the old holder')")
        assert taking.result(timeout=10).token == 2
    with pytest.raises(RollbackError), database.writing() as conn:
        old.guard(conn)


def test_a_guarded_transaction_without_an_end_is_named(
    database: Database, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "TAKE_OVER_WITHIN_MS", 600)
    old = take(database)
    with database.writing() as conn:
        old.guard(conn)
        age(admin, 3600)
        with pytest.raises(RollbackError, match=f"pid {conn.info.backend_pid}.*pg_terminate_backend"):
            take(database)
        old.guard(conn)
    assert holder_of(database).token == 1


def test_it_is_renewed_while_a_guarded_transaction_is_open(database: Database, admin: psycopg.Connection) -> None:
    lease = take(database)
    with database.writing() as conn, lease.keep(every_s=0.02):
        lease.guard(conn)
        age(admin, 3600)
        wait_until(lambda: holder_of(database).idle_s < 60, within=10, what="a renewal")
        lease.guard(conn)
    assert not lease.lost


def test_a_keeper_tells_that_the_lease_is_lost(database: Database, admin: psycopg.Connection) -> None:
    lease = take(database)
    with lease.keep(every_s=0.02):
        admin.execute("UPDATE toolkit.lease SET token = token + 1, holder = 'bob'")
        wait_until(lambda: lease.lost, within=10, what="the keeper to see it")
    assert "bob" in lease.lost
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_a_database_that_does_not_answer_is_an_error_of_the_database(lifeline: Lifeline) -> None:
    nowhere = Database(SecretStr("postgresql://toolkit@127.0.0.1:1/churn"), target="sandbox")
    for ask in (lambda: take(nowhere), lambda: holder_of(nowhere), lambda: Lease(nowhere, 1, "i", "p").release()):
        with pytest.raises(DatabaseError):
            ask()


def test_of_many_operators_at_once_exactly_one_wins(churn_database: ServiceDatabase, database: Database) -> None:
    """Processes, and no table there yet: they also race to make it."""
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": churn_database.toolkit_url}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(OPERATORS)
    ]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * OPERATORS
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.stdout.readline().strip() for process in processes]
    finally:
        for process in processes:
            process.communicate(timeout=30)
    winners = [word for word in said if word.startswith("token ")]
    assert winners == ["token 1"], said
    assert sum("Somebody else is at work" in word for word in said) == OPERATORS - 1, said


def test_of_many_threads_at_once_exactly_one_wins(database: Database) -> None:
    start = threading.Barrier(OPERATORS)

    def attempt(number: int) -> int | str:
        start.wait(30)
        try:
            return take(database, f"inc-{number}").token
        except ToolkitError as error:
            return error.what

    with ThreadPoolExecutor(OPERATORS) as threads:
        said = list(threads.map(attempt, range(OPERATORS)))
    assert [word for word in said if isinstance(word, int)] == [1], said


def waiting_for_a_lock(admin: psycopg.Connection) -> bool:
    row = admin.execute(
        """
        SELECT count(*)
        FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
    ).fetchone()
    return row != (0,)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    database = Database(SecretStr(os.environ["DATABASE_URL"]), target="sandbox")
    tell("ready")
    sys.stdin.readline()
    try:
        said = f"token {take(database).token}"
    except ToolkitError as error:
        said = error.what
    tell(said)
    sys.stdin.read()


if __name__ == "__main__":
    main()

"""A client or a line that falls silent leaves production neither locked nor waiting for ever; a pooler is no line."""

import contextlib
import time
from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr
from session_pooler import TOLD_PID, SessionPooler

from toolkit.adapters import postgres
from toolkit.adapters.postgres import Database, pid_of
from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import DatabaseError, UsageError


@pytest.fixture
def database(churn_database: ServiceDatabase) -> Database:
    return Database(SecretStr(churn_database.toolkit_url), target="sandbox", application_name="silent")


def test_the_server_ends_a_transaction_in_which_nothing_is_asked_any_more(
    database: Database, churn_database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "IDLE_WITHIN_MS", 300)
    held = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"
    with (
        psycopg.connect(churn_database.admin_url, autocommit=True) as admin,
        pytest.raises(DatabaseError),
        database.writing() as conn,
    ):
        conn.execute("SELECT pg_advisory_xact_lock(4711)")
        assert admin.execute(held).fetchone() is not None
        wait_until(lambda: admin.execute(held).fetchone() is None, within=10, what="the lock to be given back")
        conn.execute("SELECT 1")


def test_a_snapshot_that_others_work_from_is_left_alone(database: Database) -> None:
    with database.reading(within_ms=0) as conn:
        assert conn.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)
    with database.reading() as conn:
        assert conn.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("9s",)
        assert conn.execute("SHOW tcp_keepalives_idle").fetchone() == ("5",)


def test_a_statement_by_itself_has_a_deadline_of_the_client_too(database: Database) -> None:
    began = time.monotonic()
    with pytest.raises(DatabaseError), database.singly(hang_up_after_s=0.3) as conn:
        conn.execute("SELECT pg_sleep(60)")
    assert time.monotonic() - began < 20


def test_a_pooler_is_known_by_the_process_id_whatever_its_port(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.require_session()
    through = Database(database._url, target="sandbox")
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", property(lambda _: 1))
    with pytest.raises(UsageError, match="goes through a pooler"):
        through.require_session()


SUPABASE, OTHER = "aws-0-eu-central-1.pooler.supabase.com", "pooler.example.net"


@pytest.fixture
def pooler(churn_database: ServiceDatabase) -> Iterator[SessionPooler]:
    with SessionPooler(churn_database.server.port) as running:
        yield running


def test_a_session_pooler_of_supabase_is_a_line_to_work_on(
    pooler: SessionPooler, churn_database: ServiceDatabase
) -> None:
    through = Database(
        SecretStr(pooler.url(churn_database.toolkit_url, SUPABASE)), target="t", application_name="silent"
    )
    assert not through.pooled
    through.require_session()
    with psycopg.connect(churn_database.admin_url, autocommit=True) as admin, through.writing() as conn:
        shown = [conn.execute(f"SHOW {name}").fetchone() for name in ("lock_timeout", "application_name", "timezone")]
        assert shown == [("500ms",), ("silent",), ("UTC",)]
        assert conn.info.backend_pid == TOLD_PID != pid_of(conn)
        conn.execute("SELECT pg_advisory_xact_lock(4712)")
        held = admin.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712").fetchone()
        assert held == (pid_of(conn),)


def test_any_other_pooler_is_refused_and_so_is_one_that_gives_sessions_away(
    pooler: SessionPooler, churn_database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Database(SecretStr(pooler.url(churn_database.toolkit_url, OTHER)), target="t")
    with pytest.raises(UsageError, match="by another process id"):
        other.require_session()
    giving = Database(SecretStr(pooler.url(churn_database.toolkit_url, SUPABASE)), target="t")
    with giving.singly() as shared:
        monkeypatch.setattr(giving, "singly", lambda **_: contextlib.nullcontext(shared))
        monkeypatch.setattr(giving, "reading", lambda **_: contextlib.nullcontext(shared))
        with pytest.raises(UsageError, match="gives this session away") as refused:
            giving.require_session()
    assert "pooler.supabase.com:5432" in (refused.value.next or "")

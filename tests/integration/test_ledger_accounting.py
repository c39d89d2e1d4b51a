"""The accounting against a truth built by hand, on the real schema."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from toolkit.adapters.webhook import EventType, WebhookEvent
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.ledger import Ledger, Outcome, Tally, account, accounting, record_baseline
from toolkit.drill.ledger.final_read import snapshot
from toolkit.drill.schema import migrate_up, seed
from toolkit.errors import DatabaseError, ToolkitError, UsageError

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SEEDED = 1_000
NOTHING = Tally(0)


class Truth:
    """A database with seeded rows and a ledger with its baseline; each method is one thing that happens."""

    def __init__(self, folder: Path, conn: psycopg.Connection) -> None:
        self.path, self.conn = folder / "ledger.sqlite", conn
        assert record_baseline(self.path, conn) == SEEDED
        self.ledger = Ledger(self.path)

    def send(
        self, name: str, kind: EventType = "membership_activated", member: str = "1", *, acknowledged: bool = True
    ) -> None:
        """One attempt by the senders, and whether they got their 200."""
        event = WebhookEvent(name, kind, "pay", f"mem_d_{member}", "user", "biz_01", 1900, NOON)
        self.ledger.finish(self.ledger.begin_attempt(event, 1), Outcome(200 if acknowledged else 500, 5.0))

    def store(
        self, name: str, kind: EventType = "membership_activated", member: str = "1", *, processed: bool = True
    ) -> None:
        """The event's row in the database."""
        self.conn.execute(
            """
            INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, processed, processed_at)
            VALUES (%(name)s, %(kind)s, %(membership)s, 'biz_01', '{}', %(processed)s,
                    CASE WHEN %(processed)s THEN clock_timestamp() END)
            """,
            {"name": name, "kind": kind, "membership": f"mem_d_{member}", "processed": processed},
        )

    def deliver(self, name: str, kind: EventType = "membership_activated", member: str = "1") -> None:
        """Sent, stored and acknowledged."""
        self.store(name, kind, member)
        self.send(name, kind, member)

    def case(self, member: str, *, recovered: int | None = None) -> None:
        """A recovery case, open, or recovered with that many cents."""
        self.conn.execute(
            """
            INSERT INTO recovery_cases
                (company_id, membership_id, user_id, failure_reason, first_failure_at, status, recovered_at,
                 recovered_amount_cents)
            VALUES
                ('biz_01', %(membership)s, 'user', 'expired_card', now(),
                 CASE WHEN %(cents)s::int IS NULL THEN 'open' ELSE 'recovered' END,
                 CASE WHEN %(cents)s::int IS NULL THEN NULL ELSE now() END,
                 %(cents)s)
            """,
            {"membership": f"mem_d_{member}", "cents": recovered},
        )


@pytest.fixture
def owner(churn_database: ServiceDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(churn_database.owner_url, autocommit=True) as conn:
        migrate_up(conn, 8)
        seed(conn, seed=1, events=SEEDED, cases=100)
        yield conn


@pytest.fixture
def truth(tmp_path: Path, owner: psycopg.Connection) -> Iterator[Truth]:
    found = Truth(tmp_path, owner)
    yield found
    found.ledger.close()


def test_what_was_acknowledged_and_is_there_once_is_valid(truth: Truth) -> None:
    for number in range(30):
        truth.deliver(f"evt_d0_{number}")
    found = account(truth.path, truth.conn)
    assert found.valid
    assert found.faults == {}
    assert found.acknowledged.count == found.attempted.count == 30
    assert len(found.acknowledged.examples) == 20


def test_each_kind_of_fault_is_told_apart(truth: Truth) -> None:
    truth.deliver("evt_good")
    truth.send("evt_lost")
    truth.store("evt_recovered")
    truth.send("evt_recovered", acknowledged=False)
    truth.send("evt_never_arrived", acknowledged=False)
    truth.store("evt_verify_left_behind")
    truth.store(f"evt_seed_{SEEDED}")  # looks seeded, and was not there before
    truth.conn.execute("DELETE FROM events WHERE whop_event_id IN ('evt_seed_0', 'evt_seed_500')")
    truth.conn.execute("ALTER TABLE events DROP CONSTRAINT events_whop_event_id_key")
    truth.deliver("evt_twice")
    truth.store("evt_twice")
    truth.store("evt_seed_7")

    found = account(truth.path, truth.conn)
    assert not found.valid
    assert found.attempted.count == 5
    assert found.acknowledged == Tally(3, ("evt_good", "evt_lost", "evt_twice"))
    assert found.lost == Tally(1, ("evt_lost",))
    assert found.recovered == Tally(1, ("evt_recovered",))
    assert found.duplicated == Tally(2, ("evt_seed_7", "evt_twice"))
    assert found.unexpected == Tally(2, (f"evt_seed_{SEEDED}", "evt_verify_left_behind"))
    assert found.baseline_missing == Tally(2, ("evt_seed_0", "evt_seed_500"))
    assert set(found.faults) == {"lost", "duplicated", "unexpected", "baseline_missing"}


def test_a_restore_of_an_older_state_is_seen_whole(truth: Truth) -> None:
    for number in range(100):
        truth.deliver(f"evt_d0_{number}")
    truth.conn.execute("DELETE FROM events WHERE whop_event_id LIKE 'evt_d0_%'")
    found = account(truth.path, truth.conn)
    assert found.lost.count == 100
    assert len(found.lost.examples) == 20


def test_nothing_acknowledged_proves_nothing(truth: Truth) -> None:
    truth.send("evt_1", acknowledged=False)
    found = account(truth.path, truth.conn)
    assert found.faults == {}
    assert not found.valid


# Effects


def test_a_failed_payment_without_a_case_is_a_missing_effect(truth: Truth) -> None:
    truth.deliver("evt_with", "payment_failed", "1")
    truth.case("1")
    truth.deliver("evt_without", "payment_failed", "2")
    truth.store("evt_unknown", "payment_failed", "3")
    truth.send("evt_unknown", "payment_failed", "3", acknowledged=False)  # nobody was promised anything
    found = account(truth.path, truth.conn)
    assert found.effects_missing == Tally(1, ("evt_without",))
    assert not found.valid


def test_a_case_at_another_company_is_no_case(truth: Truth) -> None:
    truth.deliver("evt_1", "payment_failed", "1")
    truth.case("1")
    truth.conn.execute("UPDATE recovery_cases SET company_id = 'biz_02' WHERE membership_id = 'mem_d_1'")
    assert account(truth.path, truth.conn).effects_missing == Tally(1, ("evt_1",))


@pytest.mark.parametrize(("booked", "missing"), [(1900, 0), (None, 1), (1800, 1)])
def test_a_success_closes_the_case_and_books_its_amount(truth: Truth, booked: int | None, missing: int) -> None:
    truth.deliver("evt_failed", "payment_failed", "1")
    truth.deliver("evt_failed_again", "payment_failed", "1")
    truth.deliver("evt_succeeded", "payment_succeeded", "1")
    truth.case("1", recovered=booked)
    found = account(truth.path, truth.conn)
    assert found.effects_missing == Tally(missing, ("evt_succeeded",) * missing)


def test_a_case_that_a_person_cancelled_is_closed(truth: Truth) -> None:
    truth.deliver("evt_failed", "payment_failed", "1")
    truth.case("1")
    truth.conn.execute("UPDATE recovery_cases SET status = 'cancelled' WHERE membership_id = 'mem_d_1'")
    truth.deliver("evt_succeeded", "payment_succeeded", "1")
    assert account(truth.path, truth.conn).valid


@pytest.mark.parametrize("later", ["acknowledged", "unacknowledged", "between"])
def test_an_open_case_is_no_fault_where_a_failure_may_have_come_after_the_success(truth: Truth, later: str) -> None:
    truth.deliver("evt_1", "payment_failed", "1")
    if later == "between":  # sent before the success, acknowledged after it
        event = WebhookEvent("evt_2", "payment_failed", "pay", "mem_d_1", "user", "biz_01", 1900, NOON)
        request = truth.ledger.begin_attempt(event, 1)
        truth.deliver("evt_succeeded", "payment_succeeded", "1")
        truth.store("evt_2", "payment_failed", "1")
        truth.conn.execute(  # the database's clock reads when a transaction began, not when its turn came
            "UPDATE events SET processed_at = now() - interval '1 minute' WHERE whop_event_id IN ('evt_1', 'evt_2')"
        )
        truth.ledger.finish(request, Outcome(200, 5.0))
    else:
        truth.deliver("evt_succeeded", "payment_succeeded", "1")
        truth.store("evt_2", "payment_failed", "1")
        truth.send("evt_2", "payment_failed", "1", acknowledged=later == "acknowledged")
    truth.case("1")
    assert account(truth.path, truth.conn).valid


def test_a_success_without_a_failure_claims_nothing(truth: Truth) -> None:
    truth.case("1")
    truth.deliver("evt_succeeded", "payment_succeeded", "1")
    assert account(truth.path, truth.conn).valid


def test_an_event_that_waits_to_be_processed_has_no_effect_yet(truth: Truth) -> None:
    truth.store("evt_1", "payment_failed", "1", processed=False)
    truth.send("evt_1", "payment_failed", "1")
    truth.deliver("evt_2", "payment_failed", "2")
    truth.case("2")
    truth.store("evt_3", "payment_succeeded", "2", processed=False)
    truth.send("evt_3", "payment_succeeded", "2")
    assert account(truth.path, truth.conn).valid


def test_a_success_that_was_processed_before_a_waiting_failure_claims_nothing(truth: Truth) -> None:
    truth.store("evt_1", "payment_failed", "1", processed=False)
    truth.send("evt_1", "payment_failed", "1")
    truth.deliver("evt_2", "payment_succeeded", "1")
    truth.conn.execute(
        "UPDATE events SET processed = true, processed_at = clock_timestamp() WHERE whop_event_id = 'evt_1'"
    )
    truth.case("1")
    assert account(truth.path, truth.conn).valid


def test_two_cases_for_one_membership_are_a_doubled_effect(truth: Truth) -> None:
    truth.deliver("evt_1", "payment_failed", "1")
    truth.case("1")
    truth.case("1")
    found = account(truth.path, truth.conn)
    assert found.effects_doubled == Tally(1, ("evt_1",))
    assert not found.valid


# Who reads, and when


def test_what_is_sent_meanwhile_is_neither_lost_nor_unexpected(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders go on between the readings of ledger and database."""

    @contextlib.contextmanager
    def slow_snapshot(conn: psycopg.Connection) -> Iterator[None]:
        truth.deliver("evt_before_the_snapshot")
        with snapshot(conn):
            yield
        truth.deliver("evt_after_the_snapshot")

    monkeypatch.setattr(accounting, "snapshot", slow_snapshot)
    truth.deliver("evt_1")
    found = account(truth.path, truth.conn)
    assert found.valid
    assert found.recovered == NOTHING


def test_any_role_that_sees_all_rows_may_read(truth: Truth, churn_database: ServiceDatabase) -> None:
    truth.deliver("evt_1", "payment_failed", "1")
    truth.case("1")
    for url in (churn_database.toolkit_url, churn_database.admin_url):
        with psycopg.connect(url) as conn:
            assert account(truth.path, conn).valid
            assert account(truth.path, conn).valid  # it leaves the connection as it was


def test_hidden_rows_are_an_error_and_never_a_loss(truth: Truth, churn_database: ServiceDatabase) -> None:
    truth.deliver("evt_1")
    with (
        psycopg.connect(churn_database.url("app_b8")) as conn,
        pytest.raises(DatabaseError, match="row-level security"),
    ):
        account(truth.path, conn)


def test_a_schema_in_front_of_public_is_not_read(truth: Truth) -> None:
    truth.deliver("evt_1")
    truth.conn.execute("CREATE SCHEMA before CREATE TABLE events (whop_event_id text)")
    truth.conn.execute("SET search_path TO before, public")
    assert account(truth.path, truth.conn).valid


def test_a_connection_in_a_transaction_is_refused(truth: Truth, churn_database: ServiceDatabase) -> None:
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("SELECT 1")
        with pytest.raises(UsageError, match="in a transaction"):
            account(truth.path, conn)


def test_without_a_baseline_nothing_is_said(tmp_path: Path, owner: psycopg.Connection) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with pytest.raises(ToolkitError, match="No baseline"):
        account(path, owner)


def test_a_baseline_after_the_first_webhook_is_refused(truth: Truth) -> None:
    truth.deliver("evt_1")
    with pytest.raises(ToolkitError, match="cannot be recorded any more"):
        record_baseline(truth.path, truth.conn)
    assert account(truth.path, truth.conn).valid


def test_a_ledger_whose_events_were_there_before_is_refused(truth: Truth) -> None:
    truth.send("evt_seed_3")
    with pytest.raises(ToolkitError, match="does not belong to this database: evt_seed_3"):
        account(truth.path, truth.conn)

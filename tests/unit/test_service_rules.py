"""The service's pure rules: signatures, freshness, what a webhook must hold, what a failure reopens."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.drill.service.builds import CATEGORIES, Build, category_of
from toolkit.drill.service.cases import status_after_failure
from toolkit.drill.service.environment import Environment
from toolkit.drill.service.request_log import Failure, answer_to
from toolkit.drill.service.signature import REPLAY_WINDOW, fresh, signed
from toolkit.drill.service.webhooks import read_webhook
from toolkit.errors import UsageError

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
BODY = b'{"id": "evt_1"}'


def hex_signature(body: bytes = BODY, secret: str = "right") -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("form", ["sha256=", "v1,", ""])
def test_three_forms_of_the_right_signature_are_taken(form: str) -> None:
    assert signed(BODY, form + hex_signature(), "right")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "test",
        "sha256=",
        "v1,",
        "sha1=" + hex_signature(),
        "v2," + hex_signature(),
        hex_signature(secret="wrong"),
        hex_signature(body=BODY + b" "),
        hex_signature()[:-1],
        hex_signature() + "0",
        "sha256=v1," + hex_signature(),
        "ünïcödé",
    ],
)
def test_any_other_signature_is_refused(signature: str) -> None:
    assert not signed(BODY, signature, "right")


@given(st.binary(), st.text(), st.text(min_size=1))
def test_no_signature_makes_the_check_fall_over(body: bytes, signature: str, secret: str) -> None:
    assert not signed(body, signature, secret)


@pytest.mark.parametrize("away", [timedelta(0), REPLAY_WINDOW, -REPLAY_WINDOW])
def test_a_timestamp_within_five_minutes_is_fresh(away: timedelta) -> None:
    assert fresh(str(int((NOW + away).timestamp())), NOW)


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "now",
        "-1",
        "1e9",
        "١٢٣",
        "9" * 400,
        str(int((NOW + REPLAY_WINDOW).timestamp()) + 1),
        str(int((NOW - REPLAY_WINDOW).timestamp()) - 1),
    ],
)
def test_any_other_timestamp_is_stale(timestamp: str) -> None:
    assert not fresh(timestamp, NOW)


def body(**changes: object) -> bytes:
    data = {"membership_id": "mem_1", "user_id": "user_1", "company_id": "biz_00", "amount": 900}
    content: dict[str, object] = {"id": "evt_1", "type": "payment_succeeded", "data": data}
    for name, value in changes.items():
        (data if name in data else content)[name] = value
    return json.dumps(content).encode()


def test_a_webhook_is_read() -> None:
    webhook = read_webhook(body(created_at="2026-11-24T02:59:00Z", more={"fields": "are ignored"}))
    assert webhook is not None
    assert (webhook.id, webhook.data.amount, webhook.data.currency) == ("evt_1", 900, "usd")
    assert webhook.happened_at(NOW) == NOW - timedelta(minutes=1)
    assert webhook.happened_at(NOW - timedelta(hours=1)) == NOW - timedelta(hours=1), "never in the future"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"test": "post-rollback-test"}',
        body(id=""),
        body(id=7),
        body(membership_id=None),
        body(company_id="x" * 201),
        body(amount=9.99),
        body(amount="900"),
        body(amount=-1),
        body(amount=2**31),
        body(amount=None),
        body(created_at="2026-11-24T02:59:00"),
        body(extra="\x00"),
    ],
)
def test_a_malformed_webhook_is_not_read(content: bytes) -> None:
    assert read_webhook(content) is None


def test_a_failure_opens_again_what_was_won_back_and_nothing_that_a_person_ended() -> None:
    after = {status: status_after_failure(status) for status in ("open", "recovered", "cancelled", "terminated")}
    assert after == {"open": "open", "recovered": "open", "cancelled": "cancelled", "terminated": "terminated"}


def test_each_build_names_only_what_its_version_brought() -> None:
    brought = {
        7: ("record_operators_action", b"source"),
        8: ("close_cases", b"currency"),
        9: ("open_case", b"failure_category"),
        10: ("list_cases", b"status <> 'open'"),
        11: ("list_settings", b"creator_settings_history"),
        12: ("delete_old_events", b"keep_until"),
    }
    for version, (statement, word) in brought.items():
        for number in range(6, 13):
            assert (word in getattr(Build.of(number), statement)) is (number >= version), (number, statement)
    for number in (5, 13):
        with pytest.raises(UsageError):
            Build.of(number)


def test_the_ninth_build_forgot_two_reasons() -> None:
    assert [category_of(reason) for reason in CATEGORIES] == list(CATEGORIES)
    assert [category_of(reason) for reason in ("insufficient_funds", "authentication_required")] == [None, None]


VARIABLES = {
    "LISTEN_FD": "3",
    "DATABASE_URL": "postgresql://app:hush@127.0.0.1/churn",
    "WHOP_WEBHOOK_SECRET": "hush",
    "CRON_SECRET": "hush",
    "BUILD": "8",
    "DEPLOYMENT_ID": "dpl_1",
    "PROCESSING_ENABLED": "true",
    "SCHEDULER_ENABLED": "false",
}


def test_the_environment_is_read_and_prints_without_its_secrets() -> None:
    environment = Environment.read(VARIABLES)
    assert (environment.build, environment.processing_enabled, environment.scheduler_enabled) == (8, True, False)
    assert "hush" not in repr(environment)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        Environment.read({**VARIABLES, name: ""})


@pytest.mark.parametrize("name", ["BUILD", "LISTEN_FD", "PROCESSING_ENABLED"])
def test_a_variable_that_cannot_be_read_is_named_and_not_shown(name: str) -> None:
    with pytest.raises(UsageError, match=name) as refused:
        Environment.read({**VARIABLES, name: "hush"})
    assert "hush" not in str(refused.value)


def test_an_error_is_told_without_what_it_held() -> None:
    told = Failure.of(psycopg.OperationalError('connection to "10.0.0.1" failed for user "hush"'))
    assert (told.type, told.sqlstate) == ("OperationalError", None)
    assert "hush" not in told.message
    assert "hush" not in Failure.of(KeyError("hush")).message


def test_a_database_that_is_away_is_503_and_one_that_refuses_is_500() -> None:
    assert answer_to(psycopg.OperationalError(), "POST").status_code == 503
    assert answer_to(psycopg.errors.CheckViolation(), "POST").status_code == 500
    assert answer_to(KeyError(), "GET").status_code == 500

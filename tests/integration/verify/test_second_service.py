"""Quite another service by configuration alone: other tables, paths and names, no queue, no webhooks of that kind."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from one_service import PLAYBOOK, bad, by_name
from stub_target import HTML, PRODUCTION, StubTarget, as_json

from toolkit.adapters.postgres import StablePoint
from toolkit.adapters.systems import Systems
from toolkit.checks import run_checks
from toolkit.clock import utc_now, wait_until
from toolkit.detect.logbook import Logbook
from toolkit.detect.monitor import Monitor
from toolkit.drill.database import ServiceDatabase
from toolkit.incident import Incident
from toolkit.playbook import Playbook
from toolkit.verify import Baseline, Expectation, SteadyState, verification
from toolkit.verify.baseline import database_baseline
from toolkit.verify.steady import SteadyWindow

SHOP = """
CREATE SCHEMA shop;
CREATE TABLE shop.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ref text NOT NULL UNIQUE, at timestamptz NOT NULL, total numeric
);
CREATE TABLE shop.lines (order_id bigint NOT NULL, article text NOT NULL);
CREATE TABLE shop.rates (country text PRIMARY KEY, share numeric NOT NULL, since timestamptz NOT NULL);
CREATE TABLE shop.migrations_done (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
INSERT INTO shop.orders (ref, at, total)
SELECT 'r' || n, now() - n * interval '1 minute', n FROM generate_series(1, 99) AS n;
INSERT INTO shop.lines SELECT id, 'book' FROM shop.orders;
INSERT INTO shop.rates VALUES ('ch', 0.081, now() - interval '1 year');
INSERT INTO shop.migrations_done VALUES (3, false);
"""

DIFFERS = """
[database]
critical_tables = ["shop.orders", "shop.rates"]
schemas = ["shop"]
state_table = "shop.migrations_done"
events_table = "shop.orders"
events_key = "ref"
events_time = "at"
references = { "shop.lines.order_id" = "shop.orders.id" }
quiet_tables = { "shop.rates" = "since" }

[endpoints]
health = "/up"
health_checks = ["/up"]
webhook = "/orders"
pages = ["/"]
scheduler = "/jobs"

[verification]
figures = [{ path = "/count", field = "orders", table = "shop.orders" }]
"""


@pytest.fixture
def shop(churn_database: ServiceDatabase) -> ServiceDatabase:
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute(SHOP)
    return churn_database


@pytest.fixture
def stub() -> Iterator[StubTarget]:
    stub = StubTarget({"/": (200, *HTML), "/count": as_json({"orders": 99}), "/jobs": as_json({"status": "healthy"})})
    stub.answers["/up"] = as_json({"status": "healthy"})
    yield stub
    stub.stop()


@pytest.fixture
def systems(stub: StubTarget, shop: ServiceDatabase) -> Iterator[Systems]:
    said = PLAYBOOK.model_dump(mode="json") | {"folder": Path.cwd()} | tomllib.loads(DIFFERS)
    systems = stub.systems(Playbook.model_validate(said), shop, poll_every_s=0.05)
    yield systems
    systems.platform.close()
    systems.service.close()


def expectation(systems: Systems) -> Expectation:
    normal = SteadyState(window_s=9, requests=99, failed=0, error_rate=0, p50_ms=5, p95_ms=9, rate_per_s=9)
    measured = {"steady_state": normal, "latencies": {"/up": 100.0}}
    baseline: Baseline = database_baseline(systems).model_copy(update=measured)
    stable = StablePoint(3, PRODUCTION, utc_now(), baseline.model_dump(mode="json"))
    return Expectation(3, PRODUCTION, stable, {"shop.orders": 99, "shop.rates": 1})


def test_it_is_verified(systems: Systems, stub: StubTarget) -> None:
    window = SteadyWindow(systems, 1.0)
    checks = verification(systems, expectation=expectation(systems), window=window)
    window.begin()
    wait_until(lambda: stub.followed, within=5, what="the log to be read")
    stub.log(40, path="/orders")
    results = by_name(run_checks(checks))
    assert bad(results) == {}
    assert "every shop.lines.order_id is found in shop.orders.id" in results
    assert "shop.rates changed only as it should" in results
    assert results["sequences are ahead of their columns"].evidence == "1 sequences, all ahead"
    assert not [name for name in results if "queue" in name or "webhook" in name]


def test_what_is_wrong_with_it_is_found(systems: Systems, shop: ServiceDatabase) -> None:
    expected = expectation(systems)
    with psycopg.connect(shop.owner_url) as conn:
        conn.execute("DELETE FROM shop.orders WHERE ref = 'r5'; UPDATE shop.rates SET share = 0.0810")
    wrong = bad(by_name(run_checks(verification(systems, expectation=expected, window=SteadyWindow(systems, 0.1)))))
    assert {
        "shop.orders has no row less than the backup",
        "shop.orders of before are as they were",
        "every shop.lines.order_id is found in shop.orders.id",
        "shop.rates changed only as it should",
    } <= set(wrong)


def test_it_is_watched(systems: Systems, stub: StubTarget, tmp_path: Path) -> None:
    incident = Incident(tmp_path)
    monitor = Monitor(Logbook.of(incident), systems)
    monitor.start()
    try:
        wait_until(lambda: monitor.poll() or monitor.observer.database_word == "ok", within=10, what="the database")
        stub.answers["/up"] = as_json({"status": "down"}, 500)
        wait_until(lambda: monitor.poll() or incident.state, within=10, what="the incident")
        opened = incident.latest("incident.opened")
        assert opened is not None and opened.data["reasons"][0] == "Complete service outage: /up: 500"
        assert incident.latest("monitor.observed").data["migration"] == {
            "version": 3,
            "label": "3",
            "dirty": False,
            "tool": "golang-migrate",
            "trouble": "",
        }
    finally:
        monitor.end()
        monitor.observer.join(5)

"""What the monitor asks a real server: orphans and rows in bounded samples, its room; and a service's own log."""

import json
from pathlib import Path

import psycopg
import pytest

from toolkit.adapters.capacity import capacity
from toolkit.adapters.postgres import Database
from toolkit.adapters.sampled import COUNTED_ROWS, Orphans, Remaining, orphans, remaining
from toolkit.adapters.service_log import ServiceLog
from toolkit.adapters.traffic import Reader
from toolkit.detect.asking import ask_data
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import PlatformError
from toolkit.playbook import Database as Names
from toolkit.playbook.environment import secret


@pytest.fixture
def asked(database: ServiceDatabase) -> Database:
    """Two tables that refer to each other without a foreign key: 10 rows of 4,000 point to nothing."""
    with psycopg.connect(database.owner_url) as conn:
        conn.execute(
            """
            CREATE SCHEMA shop;
            CREATE TABLE shop.orders AS SELECT n AS id FROM generate_series(1, 20000) AS n;
            CREATE INDEX ON shop.orders (id);
            CREATE TABLE shop.lines AS SELECT n AS id, CASE WHEN n <= 10 THEN -n ELSE n END AS order_id
            FROM generate_series(1, 1000) AS n;
            INSERT INTO shop.lines VALUES (0, NULL);
            """
        )
    return Database(secret(database.toolkit_url), target="test")


def test_orphans_are_found_in_a_sample(asked: Database) -> None:
    with asked.reading() as conn:
        assert orphans(conn, "shop.lines.order_id", "shop.orders.id") == Orphans(1000, 10)


def test_a_sample_is_bounded_whatever_the_table_has(asked: Database, database: ServiceDatabase) -> None:
    with psycopg.connect(database.owner_url) as conn:
        conn.execute("INSERT INTO shop.lines SELECT n, n FROM generate_series(1, 100000) AS n")
    with psycopg.connect(database.owner_url, autocommit=True) as conn:
        conn.execute("ANALYZE shop.lines")
    with asked.reading() as conn:
        assert 0 < orphans(conn, "shop.lines.order_id", "shop.orders.id").sampled <= 4000


def test_few_rows_are_counted_and_many_are_told_by_the_statistics(asked: Database, database: ServiceDatabase) -> None:
    with asked.reading() as conn:
        assert remaining(conn, "shop.lines") == Remaining(1001, sure=True)
        many = remaining(conn, "shop.orders")
    assert many.rows >= COUNTED_ROWS and not many.sure, "nobody has analysed it: its statistics may be of nothing"
    with psycopg.connect(database.owner_url, autocommit=True) as conn:
        conn.execute("ANALYZE shop.orders")
        conn.execute("SELECT pg_stat_force_next_flush()")
    with asked.reading() as conn:
        assert remaining(conn, "shop.orders") == Remaining(20_000, sure=True)


def test_a_table_that_is_gone_does_not_hide_the_others(asked: Database) -> None:
    names = Names(
        schemas=("public", "shop"),
        critical_tables=("shop.gone", "shop.lines"),
        events_table="events",
        events_key="id",
        events_time="created_at",
        references={"shop.lines.order_id": "shop.orders.id", "shop.gone.x": "shop.orders.id"},
    )
    seen = ask_data(asked, names)
    assert seen is not None and set(seen.rows) == {"shop.lines"} and set(seen.orphans) == {"shop.lines.order_id"}


def test_the_server_tells_its_room(asked: Database) -> None:
    with asked.reading() as conn:
        room = capacity(conn)
    assert 0 < room.sessions < room.allowed
    assert (room.lag_s, room.slots_lost, room.archiver_fails) == (None, 0, False)


def line(status: int, **more: object) -> str:
    return json.dumps({"method": "POST", "path": "/hook", "status": status, "ms": 5.0} | more) + "\n"


def test_a_services_own_log_is_read_on_over_a_rotation(tmp_path: Path) -> None:
    file = tmp_path / "service.log"
    log = ServiceLog(file, Reader(), keep_s=60)
    with pytest.raises(PlatformError, match=r"service.log cannot be read: No such file"):
        log.follow()
    assert not log.open
    file.write_text(line(500) * 9)
    assert log.follow() == 0 and log.open, "what was written before it came is not read"
    with file.open("a") as written:
        written.write(line(200) + "no request\n" + line(500)[:20])
    assert log.follow() == 1
    with file.open("a") as written:
        written.write(line(500)[20:])
    assert log.follow() == 1, "a line that was half there is whole now"
    file.rename(tmp_path / "service.log.1")
    file.write_text(line(500) + line(200, request_id="toolkit-1"))
    assert log.follow() == 1, "our own requests do not count"
    file.write_text(line(503))
    assert log.follow() == 1, "emptied and written anew"
    seen = log.window(60)
    assert (seen.requests, seen.failed) == (4, 3)

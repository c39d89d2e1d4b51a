"""The merge of the service's own schema, its job queue above all: none comes back, none is lost."""

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from toolkit.adapters.conflicts import undecided
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up, seed
from toolkit.rollback.damage import Damage
from toolkit.rollback.merge import (
    MergeConfig,
    Merged,
    hold_queue,
    merge,
    queue_is_held,
    release_queue,
)

SCHEMAS = ("public", "pgboss")
LIVE = {name: name for name in SCHEMAS}
RESTORED = {name: f"restored_{name}" for name in SCHEMAS}
CONFIG = MergeConfig(mark="drill-8", excluded=("public.schema_migrations",), queue_schema="pgboss")


@pytest.fixture
def live(churn_database: ServiceDatabase) -> Iterator[psycopg.Connection[Any]]:
    """The toolkit's connection to the service's database at version 8; beside it, restored, what it was."""
    with psycopg.connect(churn_database.owner_url, autocommit=True) as owner:
        migrate_up(owner, 8)
        seed(owner, seed=3, events=200, cases=60)
        for name in SCHEMAS:
            owner.execute(
                sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(RESTORED[name]))
            )
        owner.execute("CREATE SCHEMA public")
        owner.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        migrate_up(owner, 8)
        for table in ("events", "recovery_cases", "recovery_actions", "creator_settings"):
            copy(owner, ("restored_public", table), ("public", table))
        copy(owner, ("restored_pgboss", "job"), ("pgboss", "job"))
    with psycopg.connect(churn_database.toolkit_url, autocommit=True) as conn:
        with psycopg.connect(churn_database.admin_url, autocommit=True) as admin:
            admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO toolkit").format(sql.Identifier(churn_database.name)))
        yield conn


def copy(conn: psycopg.Connection[Any], source: tuple[str, str], target: tuple[str, str]) -> None:
    with conn.cursor() as one, conn.cursor() as other:
        query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(*source))
        with one.copy(query) as out:
            data = b"".join(bytes(part) for part in out)
        with other.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(*target))) as into:
            into.write(data)


def carry(conn: psycopg.Connection[Any], *damage: Damage) -> Merged:
    with conn.transaction():
        return merge(conn, damaged=LIVE, restored=RESTORED, damage=damage, config=CONFIG)


def differing(conn: psycopg.Connection[Any], table: str, restored: str) -> int:
    """Rows that are on one side only."""
    query = sql.SQL("""
        SELECT count(*) FROM (
            SELECT live::text FROM {} AS live EXCEPT SELECT old::text FROM {} AS old
        ) AS differs
    """)
    one, other = sql.Identifier(*table.split(".")), sql.Identifier(*restored.split("."))
    rows = [conn.execute(query.format(*pair)).fetchone() for pair in ((one, other), (other, one))]
    return sum(row[0] for row in rows if row)


def values(conn: psycopg.Connection[Any], query: LiteralString) -> list[Any]:
    return [row[0] for row in conn.execute(query).fetchall()]


def waiting(conn: psycopg.Connection[Any], number: int = 3) -> list[Any]:
    return values(conn, "SELECT id FROM pgboss.job WHERE state = 'created' ORDER BY id")[:number]


def test_what_the_service_wrote_since_is_there_afterwards(live: psycopg.Connection[Any]) -> None:
    live.execute("""
        INSERT INTO recovery_cases (id, company_id, membership_id, user_id, failure_reason, first_failure_at)
        VALUES ('00000000-0000-4000-8000-000000000001', 'biz_01', 'mem_new', 'u', 'expired_card', now())
    """)
    live.execute("""
        INSERT INTO recovery_actions (case_id, type) VALUES ('00000000-0000-4000-8000-000000000001', 'nudge')
    """)
    live.execute("""
        UPDATE recovery_cases SET status = 'recovered', recovered_at = now(), recovered_amount_cents = 5
        WHERE id = (SELECT id FROM recovery_cases WHERE status = 'open' LIMIT 1)
    """)
    live.execute("DELETE FROM events WHERE whop_event_id < 'evt_seed_11'")
    merged = carry(live)
    for table in ("events", "recovery_cases", "recovery_actions", "creator_settings"):
        assert differing(live, f"public.{table}", f"restored_public.{table}") == 0
    assert merged.conflicts == 0


def test_finished_jobs_are_not_revived_and_new_ones_are_carried(live: psycopg.Connection[Any]) -> None:
    done, running, gone = waiting(live)
    live.execute("UPDATE pgboss.job SET state = 'completed', completed_on = now() WHERE id = %s", (done,))
    live.execute("UPDATE pgboss.job SET state = 'active', started_on = now() WHERE id = %s", (running,))
    live.execute("DELETE FROM pgboss.job WHERE id = %s", (gone,))
    live.execute("INSERT INTO pgboss.job (name, data) VALUES ('reminders', '{}')")
    merged = carry(live)
    assert differing(live, "pgboss.job", "restored_pgboss.job") == 0
    assert (merged.of("pgboss.job").inserted, merged.of("pgboss.job").changed, merged.of("pgboss.job").deleted) == (
        1,
        2,
        1,
    )


def test_a_damage_does_not_take_a_job_back_to_an_earlier_state(live: psycopg.Connection[Any]) -> None:
    done, failed, _ = waiting(live)
    live.execute("UPDATE pgboss.job SET state = 'completed' WHERE id = %s", (done,))
    live.execute("UPDATE restored_pgboss.job SET state = 'failed' WHERE id = %s", (failed,))
    with live.transaction():
        live.execute(
            "UPDATE pgboss.job SET state = CASE state WHEN 'created' THEN 'created' ELSE 'retry' END::pgboss.job_state"
        )
        xids = tuple(values(live, "SELECT pg_current_xact_id()::xid::text"))
    live.execute("UPDATE pgboss.job SET state = 'completed' WHERE id = %s", (done,))
    carry(live, Damage("pgboss.job", ("state",), None, xids))
    states = dict(
        live.execute(
            "SELECT id, state::text FROM restored_pgboss.job WHERE id = ANY (%s)", ([done, failed],)
        ).fetchall()
    )
    assert states == {done: "completed", failed: "failed"}
    backed_up = values(live, "SELECT count(*) FROM restored_pgboss.job WHERE state = 'retry'")
    assert backed_up == [0]


def test_deleted_jobs_come_back_unless_they_are_in_the_archive(live: psycopg.Connection[Any]) -> None:
    archived, lost, _ = waiting(live)
    live.execute("INSERT INTO pgboss.archive SELECT job.*, now() FROM pgboss.job WHERE id = %s", (archived,))
    live.execute("DELETE FROM pgboss.job WHERE id IN (%s, %s)", (archived, lost))
    carry(live, Damage("pgboss.job", verb="deleted"))
    assert values(live, "SELECT id FROM restored_pgboss.archive") == [archived]
    assert lost in values(live, "SELECT id FROM restored_pgboss.job")
    assert archived not in values(live, "SELECT id FROM restored_pgboss.job")
    assert [each.reason for each in undecided(live, CONFIG.mark)] == ["deletion"]


def test_a_queue_that_came_since_keeps_its_jobs_and_its_rules(live: psycopg.Connection[Any]) -> None:
    live.execute("""SELECT pgboss.create_queue('digest', '{"policy": "stately"}')""")
    live.execute("INSERT INTO pgboss.job (name, data, policy) VALUES ('digest', '{}', 'stately')")
    merged = carry(live)
    assert differing(live, "pgboss.job", "restored_pgboss.job") == 0
    assert len(merged.notes) == 1
    with pytest.raises(psycopg.errors.UniqueViolation):
        live.execute("INSERT INTO restored_pgboss.job (name, data, policy) VALUES ('digest', '{}', 'stately')")
    with pytest.raises(psycopg.errors.CheckViolation):
        live.execute("UPDATE restored_pgboss.job SET name = 'nobody' WHERE name = 'digest'")


def test_the_layout_of_the_queue_stays_the_restored_one(live: psycopg.Connection[Any]) -> None:
    live.execute("UPDATE pgboss.version SET version = 25")
    carry(live)
    assert values(live, "SELECT version FROM restored_pgboss.version") == [24]


def test_a_held_queue_gives_no_job_and_gets_every_time_back(
    live: psycopg.Connection[Any], churn_database: ServiceDatabase
) -> None:
    ready = "SELECT count(*) FROM pgboss.job WHERE state < 'active' AND start_after <= now()"
    everything = "SELECT array_agg(job::text ORDER BY job::text) FROM pgboss.job"
    live.execute("UPDATE pgboss.job SET start_after = now() - interval '1 microsecond' WHERE state = 'created'")
    before, (waits,) = values(live, everything), values(live, ready)
    with live.transaction():
        assert hold_queue(live, "pgboss") == waits > 0
        assert hold_queue(live, "pgboss") == 0
    with psycopg.connect(churn_database.url("app_b8"), autocommit=True) as app:
        app.execute("INSERT INTO pgboss.job (name, singleton_key) VALUES ('reminders', 'meanwhile')")
        assert values(app, ready) == [0]
    assert queue_is_held(live, "pgboss")
    with live.transaction():
        assert release_queue(live, "pgboss") == waits + 1
        assert release_queue(live, "pgboss") == 0
    assert not queue_is_held(live, "pgboss")
    assert values(live, ready) == [waits + 1]
    live.execute("DELETE FROM pgboss.job WHERE singleton_key = 'meanwhile'")
    assert values(live, everything) == before

"""The migrations on a real PostgreSQL: each down gives back exactly the schema from before its up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import COMPANIES, FAILURE_REASONS, MIGRATIONS, applying, migrate_up, seed
from toolkit.errors import DatabaseError, UsageError

NEWEST = 12

# Everything that a migration can change, by name and definition; what extensions brought is theirs.
CATALOG = """
WITH ours AS (
    SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'pgboss')
),
extension_members AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
relations AS (
    SELECT * FROM pg_class
    WHERE relnamespace IN (TABLE ours)
      AND relname NOT LIKE 'schema_migrations%'
      AND ('pg_class'::regclass, oid) NOT IN (TABLE extension_members)
)
SELECT 'schema' AS kind, nspname::text AS name, nspacl::text AS definition FROM pg_namespace WHERE oid IN (TABLE ours)
UNION ALL
SELECT 'relation', oid::regclass::text,
       concat_ws(' ', relkind, relrowsecurity, relforcerowsecurity, relispartition, reloptions,
                 relowner::regrole, relacl)
FROM relations
UNION ALL
SELECT 'column', attrelid::regclass || '.' || attname,
       concat_ws(' ', rank() OVER (PARTITION BY attrelid ORDER BY attnum), format_type(atttypid, atttypmod), attnotnull,
                 attidentity, attgenerated, attacl, pg_get_expr(adbin, adrelid))
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid IN (SELECT oid FROM relations) AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname,
       concat_ws(' ', pg_get_constraintdef(oid), convalidated, condeferrable, condeferred)
FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relations)
UNION ALL
SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid IN (SELECT oid FROM relations)
UNION ALL
SELECT 'view', oid::regclass::text, pg_get_viewdef(oid) FROM relations WHERE relkind = 'v'
UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, concat_ws(' ', pg_get_triggerdef(oid), tgenabled)
FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relations) AND NOT tgisinternal
UNION ALL
SELECT 'policy', polrelid::regclass || '.' || polname,
       concat_ws(' ', polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid),
                 pg_get_expr(polwithcheck, polrelid))
FROM pg_policy WHERE polrelid IN (SELECT oid FROM relations)
UNION ALL
SELECT 'function', oid::regprocedure::text, concat_ws(' ', pg_get_functiondef(oid), proacl)
FROM pg_proc
WHERE pronamespace IN (TABLE ours) AND ('pg_proc'::regclass, oid) NOT IN (TABLE extension_members)
UNION ALL
SELECT 'type', oid::regtype::text,
       concat_ws(' ', typtype, typacl,
                 (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
FROM pg_type t
WHERE typnamespace IN (TABLE ours) AND typtype IN ('e', 'd')
ORDER BY 1, 2
"""

# What the service said and did, but for the column that version 9 adds. Sums of hashes do not depend on the order.
CONTENTS = """
SELECT (SELECT (count(*), sum(hashtextextended(e::text, 0))) FROM events e)::text,
       (SELECT (count(*), sum(hashtextextended((to_jsonb(c) - 'failure_category')::text, 0)))
        FROM recovery_cases c)::text,
       (SELECT (count(*), sum(hashtextextended(a::text, 0))) FROM recovery_actions a)::text,
       (SELECT (count(*), sum(hashtextextended(s::text, 0))) FROM creator_settings s)::text,
       (SELECT (count(*), sum(hashtextextended(j::text, 0))) FROM pgboss.job j)::text
"""


@pytest.fixture
def owner(churn_database: ServiceDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(churn_database.owner_url, autocommit=True) as conn:
        yield conn


def catalog(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return conn.execute(CATALOG).fetchall()


def migrate_down(conn: psycopg.Connection, version: int) -> None:
    (file,) = MIGRATIONS.glob(f"{version:03d}_*.down.sql")
    with conn.transaction():
        conn.execute(file.read_bytes())
        conn.execute("UPDATE schema_migrations SET version = %s", [version - 1])


def state(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT version, dirty FROM schema_migrations").fetchall()


def test_every_down_restores_the_schema_from_before_its_up(owner: psycopg.Connection) -> None:
    before = {1: catalog(owner)}
    for version in range(1, NEWEST + 1):
        assert migrate_up(owner, version) == [version]
        before[version + 1] = catalog(owner)
        assert before[version + 1] != before[version], f"migration {version} changes nothing that the test can see"
    for version in range(NEWEST, 0, -1):
        migrate_down(owner, version)
        assert catalog(owner) == before[version], f"down {version}"


def test_every_migration_goes_up_and_down_over_rows(owner: psycopg.Connection) -> None:
    migrate_up(owner, 8)
    seed(owner, seed=3, events=600, cases=150)
    contents, schema = owner.execute(CONTENTS).fetchone(), catalog(owner)
    migrate_up(owner, NEWEST)
    for version in range(NEWEST, 8, -1):
        migrate_down(owner, version)
    assert owner.execute(CONTENTS).fetchone() == contents
    assert catalog(owner) == schema
    for version in range(8, 0, -1):
        migrate_down(owner, version)
    assert owner.execute("SELECT to_regclass('events')").fetchone() == (None,)


def test_nine_forgets_two_reasons_and_its_down_forgets_nothing(owner: psycopg.Connection) -> None:
    migrate_up(owner, 8)
    seed(owner, seed=1, events=600, cases=150)
    contents, schema = owner.execute(CONTENTS).fetchone(), catalog(owner)
    migrate_up(owner, 9)
    forgotten = owner.execute(
        "SELECT DISTINCT failure_reason FROM recovery_cases WHERE failure_category IS NULL ORDER BY 1"
    ).fetchall()
    assert forgotten == [("authentication_required",), ("insufficient_funds",)]
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        owner.execute("UPDATE recovery_cases SET attempts = attempts + 1 WHERE failure_reason = 'insufficient_funds'")
    assert refused.value.diag.constraint_name == "recovery_cases_failure_category_known"
    owner.execute("UPDATE recovery_cases SET attempts = attempts WHERE failure_reason = 'card_declined'")
    migrate_down(owner, 9)
    assert owner.execute(CONTENTS).fetchone() == contents
    assert catalog(owner) == schema


def test_a_seed_gives_the_same_rows_each_time_and_another_gives_others(
    owner: psycopg.Connection, churn_database: ServiceDatabase
) -> None:
    migrate_up(owner, 8)

    def rows(number: int) -> object:
        owner.execute("TRUNCATE events, recovery_cases, recovery_actions, creator_settings, pgboss.job")
        seed(owner, seed=number, events=400, cases=100)
        return owner.execute(
            """
            SELECT (SELECT array_agg((id, company_id, status, failure_reason) ORDER BY id)::text FROM recovery_cases),
                   (SELECT array_agg((whop_event_id, type, company_id) ORDER BY whop_event_id)::text FROM events)
            """
        ).fetchone()

    first = rows(1)
    assert rows(1) == first
    assert rows(2) != first


def test_the_default_seed_is_plausible(owner: psycopg.Connection) -> None:
    migrate_up(owner, 8)
    seed(owner, seed=1)
    counted = owner.execute(
        """
        SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM recovery_cases),
               (SELECT count(*) FROM creator_settings),
               (SELECT min(created_at) > now() - interval '60 days' AND max(created_at) <= now() FROM events),
               (SELECT count(DISTINCT whop_event_id) FROM events WHERE whop_event_id LIKE 'evt\\_seed\\_%')
        """
    ).fetchone()
    assert counted == (20_000, 5_000, len(COMPANIES), True, 20_000)
    reasons = owner.execute("SELECT failure_reason, count(*) FROM recovery_cases GROUP BY 1").fetchall()
    assert {reason: count / 5_000 for reason, count in reasons} == pytest.approx(FAILURE_REASONS, abs=0.03)
    jobs = owner.execute("SELECT DISTINCT state::text, start_after > now() FROM pgboss.job ORDER BY 1").fetchall()
    assert jobs == [("completed", False), ("created", True)]


def test_the_least_seed_still_shows_every_reason(owner: psycopg.Connection) -> None:
    migrate_up(owner, 8)
    seed(owner, seed=9, events=0, cases=5)
    reasons = owner.execute("SELECT DISTINCT failure_reason FROM recovery_cases").fetchall()
    assert {reason for (reason,) in reasons} == set(FAILURE_REASONS)


def test_a_migration_that_fails_leaves_the_schema_alone_and_the_state_dirty(
    owner: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "001_half.up.sql").write_text("CREATE TABLE half (); SELECT 1 / 0;")
    monkeypatch.setattr(applying, "MIGRATIONS", tmp_path)
    before = catalog(owner)
    with pytest.raises(DatabaseError, match="001_half"):
        migrate_up(owner, 1)
    assert catalog(owner) == before
    assert state(owner) == [(1, True)]
    with pytest.raises(DatabaseError, match="dirty"):
        migrate_up(owner, 1)


@pytest.mark.parametrize("target", [0, 3, 99])
def test_it_goes_up_only_and_only_to_what_there_is(owner: psycopg.Connection, target: int) -> None:
    migrate_up(owner, 4)
    with pytest.raises(UsageError):
        migrate_up(owner, target)
    assert state(owner) == [(4, False)]


def test_each_migration_opens_with_what_it_is_for() -> None:
    files = sorted(MIGRATIONS.iterdir())
    assert len(files) == 2 * NEWEST
    for file in files:
        assert file.read_text().startswith("-- "), file.name


def test_an_application_sees_the_company_it_names_and_no_other(
    owner: psycopg.Connection, churn_database: ServiceDatabase
) -> None:
    migrate_up(owner, 8)
    seed(owner, seed=1, events=400, cases=100)
    with psycopg.connect(churn_database.url("app_b8")) as application:
        for company, visible in (("biz_03", {"biz_03"}), ("*", set(COMPANIES)), ("nobody", set())):
            application.execute("SELECT set_config('app.company_id', %s, true)", [company])
            for table in ("events", "recovery_cases", "creator_settings"):
                found = application.execute(f"SELECT DISTINCT company_id FROM {table}").fetchall()
                assert {name for (name,) in found} <= visible
            assert bool(application.execute("SELECT FROM recovery_actions LIMIT 1").fetchall()) is bool(visible)
        application.rollback()
        application.execute("SELECT set_config('app.company_id', 'biz_03', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            application.execute("UPDATE recovery_cases SET company_id = 'biz_04'")

"""Does that deployment's code fit that schema? Asked of copies, compared with what really happens there."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from pairs import SCHEMAS, Versions, broken, copy_of, deployment_of, recorded, serve
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS
from toolkit.drill.service import statement_log
from toolkit.errors import WrongServerError
from toolkit.rollback.pair import PairResult, check_pair, keep_queries
from toolkit.rollback.pair.evidence import Evidence
from toolkit.rollback.pair.queries import recorded_queries
from toolkit.server import PostgresServer

PAIRS = [(6, 6), (6, 9), (7, 6), (8, 7), (8, 8), (8, 9), (9, 8), (9, 9), (10, 9), (11, 10), (12, 11), (12, 12)]


@pytest.fixture(scope="module")
def versions(cluster: PostgresServer, role_passwords: dict[str, str]) -> Iterator[Versions]:
    made = Versions(cluster, role_passwords)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def known(versions: Versions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Evidence]]:
    """What is recorded of each build that a test asks about."""
    every, statement_log.OF_A_KIND_EVERY_S = statement_log.OF_A_KIND_EVERY_S, 0.0

    class Recorded(dict[int, Evidence]):
        def __missing__(self, build: int) -> Evidence:
            self[build] = recorded(versions, build, tmp_path_factory.mktemp("statements"))
            return self[build]

    yield Recorded()
    statement_log.OF_A_KIND_EVERY_S = every


def check(versions: Versions, evidence: Evidence, build: int, version: int, **more: object) -> PairResult:
    asked = {"role": f"app_b{build}", "built_for": versions.signature(build), "version": version} | more
    copy = copy_of(versions.template(version))
    return check_pair(copy, deployment_of(build), evidence, schemas=SCHEMAS, **asked)


@pytest.mark.parametrize(("build", "version"), PAIRS)
def test_the_verdict_is_what_really_happens(
    versions: Versions, known: dict[int, Evidence], build: int, version: int
) -> None:
    evidence = known[build]
    fails = broken(versions, build, version)
    result = check(versions, evidence, build, version)
    assert result.verdict == ("incompatible" if fails else "fits"), (fails, result.sentence)


@pytest.mark.parametrize(
    ("build", "version", "verdict"),
    [(8, 8, "fits"), (7, 6, "incompatible"), (8, 9, "incompatible"), (12, 11, "incompatible"), (6, 8, "unknown")],
)
def test_a_schema_without_rows_never_gives_a_wrong_verdict(
    versions: Versions, known: dict[int, Evidence], build: int, version: int, verdict: str
) -> None:
    """As it is built from migrations. What meets no row there says nothing of a new check: unknown, not passed."""
    with versions.empty(version) as there:
        result = check_pair(
            copy_of(there),
            deployment_of(build),
            known[build],
            role=f"app_b{build}",
            schemas=SCHEMAS,
            built_for=versions.signature(build),
        )
    assert result.verdict == verdict, result.rows()
    if verdict == "unknown":
        assert "recovery_actions_type_known" in result.sentence


def test_a_check_that_no_query_shows_is_found_by_real_requests(versions: Versions, known: dict[int, Evidence]) -> None:
    """Build 8 on schema 9: every query prepares, and what has no category is refused."""
    result = check(versions, known[8], 8, 9)
    wrong = [each for each in result.evidence if each.verdict == "incompatible"]
    assert {each.source for each in wrong} == {"real request"}
    assert {each.sqlstate for each in wrong} == {"23514"}
    assert {each.what.partition(" (")[0] for each in wrong} == {"INSERT INTO recovery_cases", "UPDATE recovery_cases"}
    assert "recovery_cases_failure_category_known" in result.sentence


def test_queries_alone_do_not_make_a_pair_fit(versions: Versions, known: dict[int, Evidence]) -> None:
    alone = replace(known[8], requests=())
    assert check(versions, alone, 8, 8, built_for=None).verdict == "unknown"
    assert check(versions, alone, 8, 8).verdict == "fits"
    doubted = check(versions, alone, 8, 9)
    assert doubted.verdict == "unknown"
    assert "recovery_cases_failure_category_known" in doubted.sentence


def test_without_catalogs_what_met_no_row_proves_nothing(versions: Versions, known: dict[int, Evidence]) -> None:
    """On a schema without rows every UPDATE runs, and no constraint is asked."""
    with versions.empty(8) as there:
        result = check_pair(copy_of(there), "dpl_8", known[8], role="app_b8", schemas=SCHEMAS)
    assert result.verdict == "unknown" and "UPDATE" in result.sentence and "met no row" in result.sentence
    said = {each.says: each.verdict for each in result.evidence if each.source == "real request"}
    assert said["it ran"] == "fits" and said["it ran and met no row, which tells little"] == "unknown"


def test_a_copy_made_while_writes_are_frozen_says_nothing_of_writing(
    versions: Versions, known: dict[int, Evidence]
) -> None:
    with versions.database(8) as there:
        with psycopg.connect(there.admin_url) as conn:
            conn.execute("REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, pgboss FROM churn_app")
        result = check_pair(copy_of(there), "dpl_8", known[8], role="app_b8", schemas=SCHEMAS)
    assert result.verdict == "unknown" and result.counts["incompatible"] == 0, result.sentence
    assert any("while writes are frozen" in row["says"] for row in result.rows())


def test_no_evidence_is_unknown_and_said(versions: Versions) -> None:
    result = check(versions, Evidence(missing=("No query of role app_b8 is recorded.",)), 8, 8)
    assert result.verdict == "unknown"
    assert "no query and no request" in result.sentence
    assert any("app_b8" in row["says"] for row in result.rows())


@pytest.mark.parametrize(
    ("change", "sqlstate", "says"),
    [
        ("REVOKE INSERT ON events FROM churn_app", "42501", "permission denied for table events"),
        ("DROP TABLE creator_settings CASCADE", "42P01", "creator_settings"),
        ("ALTER TABLE events RENAME company_id TO company", "42703", "company_id"),
        ("ALTER TABLE events DROP CONSTRAINT events_whop_event_id_key", "42P10", "ON CONFLICT"),
        (
            "ALTER TABLE events ADD shard int NOT NULL DEFAULT 0; ALTER TABLE events ALTER shard DROP DEFAULT",
            "23502",
            "shard",
        ),
        ("ALTER TABLE recovery_actions ALTER channel TYPE varchar(3)", "22001", "too long"),
        ("ALTER FUNCTION pgboss.create_queue(text, json) RENAME TO make_queue", None, ""),
    ],
)
def test_what_no_longer_works_is_named(
    versions: Versions, known: dict[int, Evidence], change: str, sqlstate: str | None, says: str
) -> None:
    with versions.database(8) as there:
        with psycopg.connect(there.admin_url) as conn:
            conn.execute("TRUNCATE recovery_actions")
            conn.execute(change)
        result = check_pair(copy_of(there), "dpl_8", known[8], role="app_b8", schemas=SCHEMAS)
    assert result.verdict == ("incompatible" if sqlstate else "unknown"), result.sentence
    assert sqlstate or "INSERT INTO pgboss.job, UPDATE pgboss.job met no row" in result.sentence
    if sqlstate:
        wrong = [each for each in result.evidence if each.verdict == "incompatible" and each.sqlstate == sqlstate]
        assert any(says in each.says for each in wrong), result.rows()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "ALTER TABLE recovery_cases ALTER recovered_amount_cents TYPE smallint USING recovered_amount_cents % 1000",
            "integer became smallint",
        ),
        ("ALTER TABLE events ALTER membership_id TYPE varchar(60)", "text became character varying(60)"),
    ],
)
def test_a_narrower_column_escapes_all_requests_and_is_told_from_the_catalog(
    versions: Versions, known: dict[int, Evidence], change: str, says: str
) -> None:
    with versions.database(8) as there:
        with psycopg.connect(there.admin_url) as conn:
            conn.execute("DROP VIEW recovery_kpis")
            conn.execute(change)
            kpis = next(MIGRATIONS.glob("008*.up.sql")).read_text()
            conn.execute(kpis[kpis.index("CREATE VIEW") :].encode())
            conn.execute("ALTER VIEW recovery_kpis OWNER TO churn_owner")
        more = {"role": "app_b8", "schemas": SCHEMAS}
        unseen = check_pair(copy_of(there), "dpl_8", known[8], **more)
        seen = check_pair(copy_of(there), "dpl_8", known[8], built_for=versions.signature(8), **more)
    assert unseen.counts["incompatible"] == 0 and "pgboss.job met no row" in unseen.sentence
    assert seen.verdict == "incompatible"
    assert says in seen.sentence


def test_a_copy_without_grants_says_nothing_of_privileges(versions: Versions, known: dict[int, Evidence]) -> None:
    with versions.database(8) as there:
        with psycopg.connect(there.admin_url) as conn:
            conn.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public, pgboss FROM churn_app")
        result = check_pair(copy_of(there), "dpl_8", known[8], role="app_b8", schemas=SCHEMAS)
    assert result.verdict == "unknown"
    assert any("without its grants" in row["says"] for row in result.rows())


def test_a_copy_that_has_not_the_roles_is_asked_as_one_that_has(versions: Versions, known: dict[int, Evidence]) -> None:
    """A scratch server has not the target's deployments' roles, or not their memberships."""
    stranger = replace(
        known[8].application, role="app_b8_of_elsewhere", memberships=(("app_b8_of_elsewhere", "churn_app"),)
    )
    result = check(versions, replace(known[8], application=stranger), 8, 8, role="app_b8_of_elsewhere")
    assert result.verdict == "fits"
    with psycopg.connect(versions.server.url()) as conn:
        assert conn.execute("SELECT count(*) FROM pg_roles WHERE rolname LIKE '%_of_elsewhere'").fetchone() == (0,)


def test_nothing_is_left_on_the_copy(versions: Versions, known: dict[int, Evidence]) -> None:
    with versions.database(8) as there:
        before = contents(there)
        check_pair(copy_of(there), "dpl_8", known[8], role="app_b8", schemas=SCHEMAS)
        assert contents(there) == before


def test_a_right_copy_takes_away_what_says_nothing(versions: Versions, known: dict[int, Evidence]) -> None:
    with versions.database(8) as there, versions.database(8) as right:
        with psycopg.connect(there.admin_url) as conn:
            conn.execute("ALTER TABLE recovery_cases ALTER incentive_days DROP DEFAULT")
            conn.execute("ALTER TABLE recovery_cases ALTER incentive_days TYPE date USING now()")
        plain = check_pair(copy_of(there), "dpl_8", replace(known[8], requests=()), role="app_b8", schemas=SCHEMAS)
        held = check_pair(
            copy_of(there),
            "dpl_8",
            replace(known[8], requests=()),
            role="app_b8",
            schemas=SCHEMAS,
            right=copy_of(right),
        )
    assert held.counts["incompatible"] > plain.counts["incompatible"]
    assert all("says nothing" in each.says for each in held.evidence if each.verdict == "unknown")


def test_it_is_refused_on_the_targets_own_server(versions: Versions, known: dict[int, Evidence]) -> None:
    with versions.database(8) as there:
        own = replace(known[8], server=copy_of(there).identity())
        with pytest.raises(WrongServerError, match="a copy only"):
            check_pair(copy_of(there), "dpl_8", own, role="app_b8", schemas=SCHEMAS)


def test_no_parameter_and_no_constant_is_shown(versions: Versions, known: dict[int, Evidence]) -> None:
    secret = "user_of_nobody"
    assert any(secret in str(p) for r in known[8].requests for s in r.statements for p in s.params)
    for version in (6, 8, 9):
        result = check(versions, known[8], 8, version)
        shown = repr(result) + str(result.rows()) + result.sentence + repr(known[8])
        assert secret not in shown
        assert "insufficient_funds" not in shown
        assert "mem_" not in shown


def test_what_is_kept_survives_a_crash_of_the_server(versions: Versions, known: dict[int, Evidence]) -> None:
    with versions.database(8) as home:
        serve(home, 8)
        known_as = Database(SecretStr(home.toolkit_url), target="test")
        with psycopg.connect(home.url("app_b8"), autocommit=True) as conn:
            conn.execute("SET application_name = 'a-secret-name'")
            conn.execute("/* for jane@example.com */ SELECT count(*) FROM events WHERE type = 'x'")
        assert keep_queries(known_as, "dpl_8", "app_b8") > 20
        with psycopg.connect(home.admin_url) as conn:
            conn.execute(
                "SELECT pg_stat_statements_reset(0, (SELECT oid FROM pg_database WHERE datname = current_database()))"
            )
            texts = " ".join(row[0] for row in conn.execute("SELECT query FROM toolkit.recorded_query"))
        kept = recorded_queries(known_as, "dpl_8", "app_b8")
        assert len(kept) > 20
        assert keep_queries(known_as, "dpl_8", "app_b8") == 0
        assert len(recorded_queries(known_as, "dpl_8", "app_b8")) == len(kept)
    assert "INSERT INTO events" in texts
    for never in ("jane", "a-secret-name", "BEGIN", "'x'"):
        assert never not in texts


def contents(database: ServiceDatabase) -> list[tuple[object, ...]]:
    with psycopg.connect(database.admin_url) as conn:
        tables = ("events", "recovery_cases", "recovery_actions", "creator_settings", "pgboss.job", "pgboss.version")
        return [
            (table, *(conn.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} AS t").fetchone()))
            for table in tables
        ]

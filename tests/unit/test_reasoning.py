"""The assessment must follow the evidence: the same facts with one of them changed lead elsewhere."""

from dataclasses import replace

from toolkit.assess.facts import AppliedMigration, Facts, Failure, Release
from toolkit.assess.reasoning import Cause, Confidence, hypotheses, recommend

OLD = AppliedMigration(8, "recovered_revenue", "ALTER TABLE recovery_cases ADD COLUMN recovered_amount_cents int;")
NEW = AppliedMigration(
    9, "classify", "ALTER TABLE recovery_cases ADD CONSTRAINT category_known CHECK (true) NOT VALID;"
)
VIOLATION = Failure(40, 500, "/api/webhooks/whop", "23514", "category_known", "recovery_cases", None, "violates check")
CRASH = Failure(40, 500, "/dashboard")

BROKEN = Facts(
    database_up=True,
    dirty=False,
    version=9,
    stable_version=8,
    stable_deployment="dpl_8",
    production=Release("dpl_9", 9),
    migrations=(OLD, NEW),
    errors=(VIOLATION,),
    error_rate=0.3,
)


def best(facts: Facts):
    return hypotheses(facts)[0]


def test_an_error_that_names_what_a_migration_brought_is_strong_evidence() -> None:
    assert (best(BROKEN).cause, best(BROKEN).subject, best(BROKEN).confidence) == (
        Cause.MIGRATION,
        "9",
        Confidence.STRONG,
    )
    advice = recommend(BROKEN, hypotheses(BROKEN))
    assert (advice.kind, advice.migration_target) == ("migration", 8)
    assert any("application must go back too, and first" in reason for reason in advice.reasons)


def test_an_object_that_was_there_before_accuses_the_migration_less() -> None:
    error = replace(VIOLATION, constraint=None)
    assert best(replace(BROKEN, errors=(error,))).confidence is Confidence.SOME


def test_server_errors_without_a_database_error_accuse_the_deployment() -> None:
    facts = replace(BROKEN, version=8, errors=(CRASH,))
    assert (best(facts).cause, recommend(facts, hypotheses(facts)).kind) == (Cause.DEPLOYMENT, "application")


def test_a_database_error_speaks_against_the_deployment() -> None:
    deployment = next(h for h in hypotheses(BROKEN) if h.cause is Cause.DEPLOYMENT)
    assert deployment.confidence is Confidence.WEAK and "category_known" in deployment.against[0]


def test_nothing_recent_recommends_nothing() -> None:
    facts = replace(BROKEN, version=8, production=Release("dpl_8", 8))
    assert (best(facts).cause, recommend(facts, hypotheses(facts)).kind) == (Cause.UNKNOWN, "none")


def test_a_dirty_migration_is_compared_before_it_is_undone() -> None:
    facts = replace(BROKEN, dirty=True)
    advice = recommend(facts, hypotheses(facts))
    assert advice.kind == "migration" and "dirty" in advice.reasons[0]
    assert "compares the schema first" in advice.against[0]


def test_without_a_recorded_stable_version_no_migration_is_accused_by_age() -> None:
    facts = replace(BROKEN, stable_version=None, stable_deployment=None)
    assert recommend(facts, hypotheses(facts)).kind == "none"


def test_a_database_that_does_not_answer_comes_first() -> None:
    assert best(replace(BROKEN, database_up=False, errors=())).cause is Cause.DATABASE


def test_an_unknown_schema_need_is_said() -> None:
    facts = replace(BROKEN, production=Release("dpl_9", None))
    assert any("unknown whether" in reason for reason in recommend(facts, hypotheses(facts)).reasons)


def test_overwritten_values_call_for_a_restore() -> None:
    corrupting = replace(NEW, sql="UPDATE recovery_cases SET status = 'x'", rewrites=("recovery_cases",))
    facts = replace(BROKEN, migrations=(OLD, corrupting), errors=(), shifted={"recovery_cases.status": 0.8})
    assert (best(facts).cause, best(facts).confidence) == (Cause.MIGRATION, Confidence.STRONG)
    advice = recommend(facts, hypotheses(facts))
    assert advice.kind == "restore" and any("80%" in reason for reason in advice.reasons)
    elsewhere = replace(facts, shifted={"events.type": 0.8})
    assert recommend(elsewhere, hypotheses(elsewhere)).kind == "none"


def test_a_migration_without_a_down_calls_for_a_restore() -> None:
    facts = replace(BROKEN, migrations=(OLD, replace(NEW, down_problem="it has no down")))
    advice = recommend(facts, hypotheses(facts))
    assert advice.kind == "restore" and any("it has no down" in reason for reason in advice.reasons)


def test_when_everything_fails_and_all_is_new_nobody_guesses() -> None:
    facts = replace(BROKEN, error_rate=0.98)
    assert recommend(facts, hypotheses(facts)).kind == "emergency"
    old_code = replace(facts, production=Release("dpl_8", 8))
    assert recommend(old_code, hypotheses(old_code)).kind == "migration"


def test_a_column_that_is_gone_is_known_from_the_message() -> None:
    message = 'column "currency" of relation "recovery_cases" does not exist'
    gone = Failure(40, 500, "/api/webhooks/whop", "42703", message=message)
    dropping = replace(NEW, sql="ALTER TABLE recovery_cases DROP COLUMN currency;")
    assert best(replace(BROKEN, migrations=(OLD, dropping), errors=(gone,))).confidence is not Confidence.WEAK


QUIET = replace(BROKEN, version=8, production=Release("dpl_8", 8), migrations=(OLD,), errors=(), error_rate=0.0)
MISSED = Failure(
    40,
    500,
    "/api/webhooks/whop",
    "42703",
    message='column "failure_category" of relation "recovery_cases" does not exist',
)


def advice_on(facts: Facts) -> str:
    return recommend(facts, hypotheses(facts)).kind


def test_a_missing_object_that_no_migration_named_accuses_code_that_is_too_new() -> None:
    facts = replace(QUIET, production=Release("dpl_9", 9), errors=(MISSED,), error_rate=0.3)
    assert (best(facts).cause, best(facts).confidence) == (Cause.DEPLOYMENT, Confidence.STRONG)
    assert any("built for schema 9, and 8 is live" in said for said in best(facts).supporting)
    assert advice_on(facts) == "application"
    taken = replace(OLD, sql=f"{OLD.sql} ALTER TABLE recovery_cases ADD COLUMN failure_category text;")
    assert best(replace(facts, migrations=(taken,))).confidence is Confidence.WEAK, "a migration has named it"


def test_events_that_are_refused_without_an_error_accuse_a_new_deployment() -> None:
    facts = replace(QUIET, production=Release("dpl_9", 8), events_in=(60, 0))
    assert (best(facts).confidence, advice_on(facts)) == (Confidence.STRONG, "application")
    for quiet in (replace(facts, events_in=(60, 59)), replace(facts, events_in=(2, 0)), replace(facts, events_in=None)):
        assert advice_on(quiet) == "none"


def test_rows_that_are_gone_without_a_migration_are_brought_back_from_a_backup() -> None:
    facts = replace(QUIET, signals={"rows_lost": "recovery_cases has 12 rows, 5,000 when all was verified"})
    assert (best(facts).cause, advice_on(facts)) == (Cause.DATA, "restore")
    assert advice_on(replace(facts, signals={})) == "none"


def test_a_table_that_a_migration_dropped_is_in_a_backup_and_in_no_down() -> None:
    error = Failure(40, 500, "/settings", "42P01", message='relation "creator_settings" does not exist')
    new = AppliedMigration(9, "settings", "DROP TABLE creator_settings;", destroys=("the table creator_settings",))
    older = replace(OLD, sql="CREATE TABLE creator_settings (id int);")
    facts = replace(BROKEN, migrations=(older, new), errors=(error,), production=Release("dpl_8", 8))
    assert advice_on(facts) == "restore"
    assert advice_on(replace(facts, migrations=(older, replace(new, destroys=())))) == "migration"


def test_a_dropped_index_is_taken_back_where_requests_are_slow() -> None:
    new = AppliedMigration(9, "fewer indexes", "DROP INDEX cases_idx;")
    facts = replace(QUIET, version=9, migrations=(OLD, new), signals={"performance": "95 % took up to 3000 ms"})
    assert (best(facts).cause, advice_on(facts)) == (Cause.MIGRATION, "migration")
    assert advice_on(replace(facts, signals={})) == "none"


def test_jobs_that_are_stuck_are_no_rollbacks_matter() -> None:
    facts = replace(QUIET, signals={"job_queue": "0 jobs failed, 100 are stuck"})
    assert (best(facts).cause, advice_on(facts)) == (Cause.QUEUE, "none")


def test_a_declared_breach_is_an_emergency_whatever_else_is_seen() -> None:
    assert advice_on(replace(BROKEN, breach="Security breach: a password is public")) == "emergency"


def test_a_short_wait_for_a_lock_is_a_cause_where_requests_time_out() -> None:
    ended = Failure(9, 503, "/dashboard", "57014", message="canceling statement due to statement timeout")
    facts = replace(QUIET, blocked=4, blocked_s=2.0, errors=(ended,), error_rate=0.9)
    assert (best(facts).cause, best(facts).confidence) == (Cause.LOCKS, Confidence.STRONG)
    assert best(replace(facts, errors=())).cause is Cause.UNKNOWN
    slow = replace(facts, errors=(), blocked_s=8.0)
    assert (best(slow).cause, best(slow).confidence) == (Cause.LOCKS, Confidence.SOME)
    assert best(replace(slow, error_rate=0.0)).confidence is Confidence.WEAK

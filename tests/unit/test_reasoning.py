"""The assessment must follow the evidence: the same facts with one of them changed lead elsewhere."""

from dataclasses import replace

from toolkit.assess.reasoning import (
    AppliedMigration,
    Cause,
    Confidence,
    Facts,
    Failure,
    Release,
    hypotheses,
    recommend,
)

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


def test_a_dirty_migration_is_not_rolled_back_blindly() -> None:
    facts = replace(BROKEN, dirty=True)
    advice = recommend(facts, hypotheses(facts))
    assert advice.kind == "none" and "dirty" in advice.reasons[0]


def test_without_a_recorded_stable_version_no_migration_is_accused_by_age() -> None:
    facts = replace(BROKEN, stable_version=None, stable_deployment=None)
    assert recommend(facts, hypotheses(facts)).kind == "none"


def test_a_database_that_does_not_answer_comes_first() -> None:
    assert best(replace(BROKEN, database_up=False, errors=())).cause is Cause.DATABASE


def test_an_unknown_schema_need_is_said() -> None:
    facts = replace(BROKEN, production=Release("dpl_9", None))
    assert any("unknown whether" in reason for reason in recommend(facts, hypotheses(facts)).reasons)

"""Which deployment with which schema, and what goes first: every answer of the check, and the plans that follow."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_planners import B6, B7, B8, B9, ids, situation

from toolkit.errors import RollbackError
from toolkit.rollback.application import plan_application_rollback
from toolkit.rollback.migration import plan_migration_rollback
from toolkit.rollback.pair import Candidate, Pairing, choose_pair

FITS, NOT, UNKNOWN = "fits", "incompatible", "unknown"
VERDICTS = st.sampled_from([FITS, NOT, UNKNOWN])


def chosen(running: tuple[str, str], other: tuple[str, str], wanted: str = "migration") -> Pairing:
    """Going from schema 9 to 8, or from dpl_9 to dpl_8; a pair of verdicts is of schema 9, then of schema 8."""
    return choose_pair(Candidate("dpl_9", *running), [Candidate("dpl_8", *other)], now=9, after=8, wanted=wanted)


@pytest.mark.parametrize(
    ("running", "other", "wanted", "order", "deployment"),
    [
        ((FITS, FITS), (FITS, FITS), "migration", "alone", None),
        ((FITS, UNKNOWN), (FITS, FITS), "migration", "unknown", None),
        ((FITS, NOT), (FITS, FITS), "migration", "application-first", "dpl_8"),
        ((FITS, NOT), (UNKNOWN, FITS), "migration", "application-first", "dpl_8"),
        ((FITS, NOT), (NOT, FITS), "migration", "frozen", "dpl_8"),
        ((FITS, NOT), (NOT, UNKNOWN), "migration", "frozen", "dpl_8"),
        ((FITS, NOT), (FITS, FITS), "application", "alone", "dpl_8"),
        ((FITS, NOT), (UNKNOWN, FITS), "application", "unknown", "dpl_8"),
        ((FITS, FITS), (NOT, FITS), "application", "migration-first", "dpl_8"),
        ((FITS, UNKNOWN), (NOT, FITS), "application", "migration-first", "dpl_8"),
        ((FITS, NOT), (NOT, FITS), "application", "frozen", "dpl_8"),
    ],
)
def test_the_order_is_the_one_whose_intermediate_pair_fits(
    running: tuple[str, str], other: tuple[str, str], wanted: str, order: str, deployment: str | None
) -> None:
    pairing = chosen(running, other, wanted)
    assert (pairing.order, pairing.deployment) == (order, deployment)


@pytest.mark.parametrize(
    ("running", "other", "wanted", "what"),
    [
        ((FITS, NOT), (FITS, NOT), "migration", "does not work on schema 8, and no earlier deployment does"),
        ((FITS, FITS), (NOT, NOT), "application", r"No earlier deployment works on schema 9 \(dpl_8\)"),
    ],
)
def test_where_nothing_fits_in_the_end_it_is_refused(
    running: tuple[str, str], other: tuple[str, str], wanted: str, what: str
) -> None:
    with pytest.raises(RollbackError, match=what) as raised:
        chosen(running, other, wanted)
    assert "restore" in str(raised.value.next)


@given(st.tuples(VERDICTS, VERDICTS), st.lists(st.tuples(VERDICTS, VERDICTS), max_size=4), st.booleans())
def test_nothing_incompatible_is_ever_chosen_and_no_doubt_is_hidden(
    running: tuple[str, str], others: list[tuple[str, str]], migration: bool
) -> None:
    candidates = {f"dpl_{i}": Candidate(f"dpl_{i}", *verdicts) for i, verdicts in enumerate(others)}
    live = Candidate("live", *running)
    wanted = "migration" if migration else "application"
    try:
        pairing = choose_pair(live, list(candidates.values()), now=9, after=8, wanted=wanted)
    except RollbackError:
        ends = [each.after for each in candidates.values()] + (
            [] if migration else [c.now for c in candidates.values()]
        )
        assert all(end == NOT for end in ends)
        return
    end = candidates.get(pairing.deployment or "", live)
    served = [end.after if pairing.migrates else end.now]
    served += [end.now] if pairing.order == "application-first" else []
    served += [live.after] if pairing.order == "migration-first" else []
    assert NOT not in served
    assert bool(pairing.warnings) == (UNKNOWN in served)
    if pairing.order == "frozen":
        assert (end.now, live.after) == (NOT, NOT)


def test_the_newest_of_equals_is_taken_and_one_that_needs_no_freeze_before_a_newer_one() -> None:
    live = Candidate("dpl_9", FITS, NOT)
    newer, older = Candidate("dpl_8", NOT, FITS), Candidate("dpl_7", FITS, FITS)
    assert choose_pair(live, [newer, older], now=9, after=8, wanted="migration").deployment == "dpl_7"
    assert (
        choose_pair(live, [replace(newer, now=FITS), older], now=9, after=8, wanted="migration").deployment == "dpl_8"
    )


class TestPlans:
    def test_the_order_of_the_steps(self) -> None:
        facts = situation(deployments=(B9, B8, B7, B6))
        orders = {
            "application-first": ["point-production", "run-down-9"],
            "migration-first": ["run-down-9", "point-production"],
            "frozen": ["freeze-writes", "point-production", "run-down-9", "release-everything"],
            "alone": ["run-down-9"],
        }
        for order, steps in orders.items():
            pairing = Pairing(order, None if order == "alone" else "dpl_7", True, ("Why.",), ("A doubt.",))
            plan = plan_migration_rollback(facts, to=8, pairing=pairing)
            assert ids(plan) == steps
            assert plan.deployment == (None if order == "alone" else "dpl_7")
            assert plan.reasons == ("Why.",) and "A doubt." in plan.warnings
            assert not any("not proved" in warning for warning in plan.warnings)

    def test_without_evidence_the_recorded_versions_decide_and_it_is_said(self) -> None:
        facts = situation(deployments=(B9, B8, B7, B6))
        nothing = Pairing("unknown", None, True, (), ("It is not known whether dpl_9 works on schema 8.",))
        plan = plan_migration_rollback(facts, to=8, pairing=nothing)
        assert ids(plan) == ids(plan_migration_rollback(facts, to=8)) and plan.deployment == "dpl_8"
        assert plan.warnings == nothing.warnings

    def test_an_application_that_fits_on_evidence_may_be_of_a_newer_schema(self) -> None:
        facts = situation(8, running=B7, deployments=(B9, B8, B7))
        able = replace(B9, is_rollback_candidate=True)
        facts = replace(facts, releases=replace(facts.releases, deployments=(able, B8, B7)))
        plan = plan_application_rollback(facts, pairing=Pairing("alone", "dpl_9", False, ("dpl_9 fits schema 8.",)))
        assert plan.deployment == "dpl_9" and plan.warnings == () and plan.reasons == ("dpl_9 fits schema 8.",)
        with pytest.raises(RollbackError, match="built for schema 9"):
            plan_application_rollback(facts, deployment="dpl_9")

    def test_an_application_that_needs_another_schema_is_not_rolled_back_alone(self) -> None:
        widened = Pairing("migration-first", "dpl_8", True, ("dpl_8 does not work on schema 9.",))
        with pytest.raises(RollbackError, match="dpl_8 does not work on schema 9") as raised:
            plan_application_rollback(situation(), pairing=widened)
        assert "--deployment=dpl_8" in str(raised.value.next)

    @pytest.mark.parametrize(
        ("substate", "why"), [("PROMOTED", "plan excludes it"), ("STAGED", "never was live; it can be promoted")]
    )
    def test_what_the_platform_would_refuse_is_told_beforehand(self, substate: str, why: str) -> None:
        old = replace(B7, is_rollback_candidate=False, substate=substate)
        with pytest.raises(RollbackError, match=why):
            plan_application_rollback(situation(deployments=(B9, B8, old)), deployment="dpl_7")

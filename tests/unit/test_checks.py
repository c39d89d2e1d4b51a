"""Unknown is never passed."""

import pytest

from toolkit.checks import Check, Outcome, failed, overall, passed, run_check, run_checks, tally, unknown

LOOKS = {"pass": lambda: passed("3 of 3"), "fail": lambda: failed("2 of 3"), "unknown": lambda: unknown("no answer")}


def results(*names: str):
    return run_checks(Check(name, "area", LOOKS[name]) for name in names)


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        ((), Outcome.UNKNOWN),
        (("pass", "pass"), Outcome.PASS),
        (("pass", "unknown"), Outcome.UNKNOWN),
        (("unknown", "fail", "pass"), Outcome.FAIL),
    ],
)
def test_outcomes_add_up(names: tuple[str, ...], outcome: Outcome) -> None:
    assert overall(results(*names)) is outcome


@pytest.mark.parametrize(
    ("outcome", "beside", "together"),
    [
        ("unknown", ("pass",), Outcome.PASS),
        ("unknown", (), Outcome.UNKNOWN),
        ("unknown", ("unknown",), Outcome.UNKNOWN),
        ("fail", ("pass",), Outcome.FAIL),
    ],
)
def test_an_optional_check_stands_in_the_way_only_where_it_fails(
    outcome: str, beside: tuple[str, ...], together: Outcome
) -> None:
    optional = run_check(Check("extra", "area", LOOKS[outcome], optional=True))
    assert overall([optional, *results(*beside)]) is together
    assert tally([optional])[outcome] == 1, "and is told all the same"


def test_a_check_that_cannot_look_is_unknown_and_says_why() -> None:
    def look():
        raise ConnectionError("line cut")

    result = run_check(Check("reachable", "database", look))
    assert result.outcome is Outcome.UNKNOWN and "ConnectionError: line cut" in result.evidence


def test_tally_counts_every_outcome() -> None:
    assert tally(results("pass", "pass", "fail")) == {"pass": 2, "fail": 1, "unknown": 0}

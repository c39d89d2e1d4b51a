"""P0 to P3 by the playbook's definitions, in the playbook's words; up at once, down only after a while."""

from pathlib import Path

import pytest

from toolkit.detect.seen import Reading, Signal
from toolkit.detect.severity import CASES, Classification, Gauge, classify
from toolkit.playbook import Severity, SeverityRule, load_playbook

RULES = load_playbook(Path(__file__).parents[2] / "playbook.toml").severity


def reading(value: float = 1.0, evidence: str = "evidence") -> Reading:
    return Reading(True, value, 0.1, evidence)


RATE, ALL, SOME = {Signal.ERROR_RATE: reading(0.3)}, {Signal.HEALTH: reading(1.0)}, {Signal.HEALTH: reading(0.33)}
GONE, DIRTY = {Signal.DATABASE: reading()}, {Signal.MIGRATION_DIRTY: reading()}

EXPECTED = [
    (RATE, Severity.P1, ["Error rate >10%"]),
    ({Signal.ERROR_RATE: reading(0.95)}, Severity.P0, ["Complete service outage", "Error rate >10%"]),
    (ALL, Severity.P0, ["Complete service outage"]),
    (SOME, Severity.P1, ["Partial service degradation"]),
    (GONE, Severity.P1, ["Partial service degradation"]),
    (GONE | SOME, Severity.P0, ["Complete service outage"]),
    ({Signal.PERFORMANCE: reading()}, Severity.P1, ["Performance degradation >50%"]),
    ({Signal.SILENCE: reading()}, Severity.P0, ["No webhook processing for >15 minutes"]),
    ({Signal.MIGRATION_FAILURE: reading()}, Severity.P0, ["Database migration failure affecting production"]),
    (
        RATE | {Signal.MIGRATION_FAILURE: reading()},
        Severity.P0,
        ["Database migration failure affecting production", "Error rate >10%"],
    ),
    (DIRTY, Severity.P2, ["Migration validation failures"]),
    (DIRTY | RATE, Severity.P0, ["Database migration failure affecting production", "Error rate >10%"]),
    ({Signal.FEATURE: reading()}, Severity.P2, ["Single feature failures"]),
    ({Signal.QUEUE: reading()}, Severity.P2, ["Single feature failures"]),
    ({Signal.CONNECTIONS: reading()}, Severity.P2, ["Minor performance issues"]),
    ({Signal.STORAGE: reading()}, Severity.P2, ["Minor performance issues"]),
    ({Signal.ORPHANS: reading()}, Severity.P0, ["Data corruption or loss"]),
    ({Signal.ROWS: reading()}, Severity.P0, ["Data corruption or loss"]),
    ({Signal.FIGURES: reading()}, Severity.P2, ["Single feature failures"]),
    ({Signal.FIGURES: reading(), Signal.ORPHANS: reading()}, Severity.P0, ["Data corruption or loss"]),
    ({Signal.ROLLBACK_FAILURE: reading()}, Severity.P1, ["Migration rollback failure"]),
    ({Signal.VALIDATION_FAILURE: reading()}, Severity.P2, ["Migration validation failures"]),
    (
        DIRTY | RATE | {Signal.VALIDATION_FAILURE: reading()},
        Severity.P0,
        ["Database migration failure affecting production", "Error rate >10%", "Migration validation failures"],
    ),
]


@pytest.mark.parametrize(("raised", "severity", "definitions"), EXPECTED, ids=[str(n) for n in range(len(EXPECTED))])
def test_raised_signals_amount_to(raised, severity: Severity, definitions: list[str]) -> None:
    found = classify(raised, RULES)
    assert found is not None
    assert (found.severity, [reason.partition(": ")[0] for reason in found.reasons]) == (severity, definitions)
    assert all(": evidence" in reason for reason in found.reasons)


def test_nothing_raised_is_no_severity() -> None:
    assert classify({}, RULES) is None


def test_every_signal_amounts_to_something() -> None:
    for signal in Signal:
        assert classify({signal: reading()}, RULES) is not None, signal


def test_every_definition_is_the_playbooks() -> None:
    """A case whose phrase is not found would speak in words of its own."""
    words = [definition.lower() for rule in RULES.values() for definition in rule.definitions]
    assert not [case.phrase for case in CASES if not any(case.phrase in definition for definition in words)]


def test_the_playbook_decides_what_is_how_bad() -> None:
    def rule(*definitions: str) -> SeverityRule:
        return SeverityRule(title="", definitions=definitions, respond_within_minutes=0, update_every_minutes=1)

    rules = {Severity.P0: rule("An error rate of more than 1 in 10"), Severity.P3: rule("Performance degradation")}
    assert classify(RATE, rules) == Classification(Severity.P0, ("An error rate of more than 1 in 10: evidence",))
    assert classify({Signal.PERFORMANCE: reading()}, rules).severity is Severity.P3
    assert classify({Signal.SILENCE: reading()}, rules).severity is Severity.P0, "one that it does not name stays"


def test_the_worst_reason_comes_first_in_whatever_order_the_playbook_has_them() -> None:
    def rule(definition: str) -> SeverityRule:
        return SeverityRule(title="", definitions=(definition,), respond_within_minutes=0, update_every_minutes=1)

    rules = {Severity.P0: rule("Performance degradation"), Severity.P2: rule("Error rate")}
    found = classify(RATE | {Signal.PERFORMANCE: reading()}, rules)
    assert found == Classification(Severity.P0, ("Performance degradation: evidence", "Error rate: evidence"))


def gauge(story: list[Severity | None], polls_to_fall: int = 3) -> list[Severity | None]:
    """The severity after each poll at which it changed, else None."""
    one, told = Gauge(polls_to_fall), []
    for severity in story:
        changed = one.update(Classification(severity, ()) if severity else None)
        told.append(changed.severity if changed else None)
    return told


P0, P1, P2 = Severity.P0, Severity.P1, Severity.P2


@pytest.mark.parametrize(
    ("story", "told"),
    [
        ([P1, P1, P1], [P1, None, None]),
        ([P1, P0, P0], [P1, P0, None]),
        ([P0, P1, P1], [P0, None, None]),
        ([P0, P1, P1, P1], [P0, None, None, P1]),
        ([P0, P1, P1, P0, P1, P1, P1], [P0, None, None, None, None, None, P1]),
        ([P0, P1, P2, P2], [P0, None, None, P2]),
        ([P1, None, None, P0], [P1, None, None, P0]),
    ],
)
def test_it_rises_at_once_and_falls_late(story, told) -> None:
    assert gauge(story) == told

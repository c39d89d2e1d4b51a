"""How bad is it? From raised signals to the playbook's P0 to P3, with reasons in the playbook's own words. Pure.

A table of cases, each with a phrase by which its definition is found in the playbook. The playbook decides: where it
puts 'error rate' under P0, a high error rate is P0. A case that the playbook does not name keeps a severity of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.detect.seen import Reading, Signal
from toolkit.playbook import Severity, SeverityRule

OUTAGE_RATE = 0.9

Raised = Mapping[Signal, Reading]
Rules = Mapping[Severity, SeverityRule]


@dataclass(frozen=True)
class Classification:
    """The worst severity that applies, and every reason, the worst first."""

    severity: Severity
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """`applies` gives the evidence, or None. `phrase` is looked for in the playbook's definitions."""

    phrase: str
    severity: Severity
    definition: str
    applies: Callable[[Raised], str | None]


def classify(raised: Raised, rules: Rules) -> Classification | None:
    """What the raised signals amount to; None without any."""
    found = []
    for case in CASES:
        if evidence := case.applies(raised):
            severity, definition = _definition(case, rules)
            found.append((severity, f"{definition}: {evidence}"))
    if not found:
        return None
    found.sort(key=lambda each: each[0].value)
    return Classification(found[0][0], tuple(reason for _, reason in found))


def _definition(case: Case, rules: Rules) -> tuple[Severity, str]:
    for severity in Severity:
        for definition in rules[severity].definitions if severity in rules else ():
            if case.phrase in definition.lower():
                return severity, definition
    return case.severity, case.definition


def _outage(raised: Raised) -> str | None:
    """Nearly every request fails, no health endpoint is well, or the database is gone and the service says so too."""
    rate, health, database = (raised.get(s) for s in (Signal.ERROR_RATE, Signal.HEALTH, Signal.DATABASE))
    if rate and (rate.value or 0) >= OUTAGE_RATE:
        return rate.evidence
    if health and ((health.value or 0) >= 1 or database):
        return "; ".join(each.evidence for each in (health, database) if each)
    return None


def _migration(raised: Raised) -> str | None:
    """An unverified migration breaks requests, or a migration failed half-way and something else is wrong as well."""
    if failure := raised.get(Signal.MIGRATION_FAILURE):
        return failure.evidence
    dirty = raised.get(Signal.MIGRATION_DIRTY)
    harm = [raised[s] for s in (Signal.ERROR_RATE, Signal.HEALTH, Signal.FEATURE, Signal.DATABASE) if s in raised]
    return f"{dirty.evidence}; {harm[0].evidence}" if dirty and harm else None


def _partial(raised: Raised) -> str | None:
    if _outage(raised):
        return None
    found = [raised[s].evidence for s in (Signal.HEALTH, Signal.DATABASE) if s in raised]
    return "; ".join(found) or None


def _feature(raised: Raised) -> str | None:
    jump = () if _corruption(raised) else (Signal.FIGURES,)
    return _all_of(Signal.FEATURE, Signal.QUEUE, *jump)(raised)


def _corruption(raised: Raised) -> str | None:
    """Rows are others, orphaned or gone. A figure that jumped says so only together with one of these."""
    found = [s for s in (Signal.DATA_INTEGRITY, Signal.ORPHANS, Signal.ROWS) if s in raised]
    return _all_of(*found, Signal.FIGURES)(raised) if found else None


def _validation(raised: Raised) -> str | None:
    dirty = () if _migration(raised) else (Signal.MIGRATION_DIRTY,)
    return _all_of(*dirty, Signal.VALIDATION_FAILURE)(raised)


def _all_of(*signals: Signal) -> Callable[[Raised], str | None]:
    return lambda raised: "; ".join(raised[each].evidence for each in signals if each in raised) or None


def _of(signal: Signal) -> Callable[[Raised], str | None]:
    return lambda raised: raised[signal].evidence if signal in raised else None


CASES = (
    Case("complete service outage", Severity.P0, "Complete service outage", _outage),
    Case("migration failure", Severity.P0, "Database migration failure affecting production", _migration),
    Case("data corruption", Severity.P0, "Data corruption or loss", _corruption),
    Case("no webhook processing", Severity.P0, "No webhook processing", _of(Signal.SILENCE)),
    Case("error rate", Severity.P1, "Error rate", _of(Signal.ERROR_RATE)),
    Case("partial service degradation", Severity.P1, "Partial service degradation", _partial),
    Case("rollback failure", Severity.P1, "Migration rollback failure", _of(Signal.ROLLBACK_FAILURE)),
    Case("performance degradation", Severity.P1, "Performance degradation", _of(Signal.PERFORMANCE)),
    Case("single feature", Severity.P2, "Single feature failures", _feature),
    Case("migration validation", Severity.P2, "Migration validation failures", _validation),
    Case("minor performance", Severity.P2, "Minor performance issues", _all_of(Signal.CONNECTIONS, Signal.STORAGE)),
)


class Gauge:
    """A severity that rises at once and falls only after `polls_to_fall` polls in a row that were all lower."""

    def __init__(self, polls_to_fall: int) -> None:
        self._to_fall, self._lower = polls_to_fall, 0
        self.now: Severity | None = None

    def update(self, found: Classification | None) -> Classification | None:
        """Take one poll's classification; it, if the severity changes by it. None (all clear) changes nothing."""
        if found is None:
            return None
        if self.now is not None and not found.severity.worse_than(self.now):
            self._lower = self._lower + 1 if self.now.worse_than(found.severity) else 0
            if self._lower < self._to_fall:
                return None
        self._lower = 0
        self.now = found.severity
        return found

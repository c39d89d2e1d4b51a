"""A check asks one question and has three answers: pass, fail, unknown. Unknown is never passed.

Owns how checks are run and how their outcomes add up. It knows nothing of what is checked.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from toolkit.clock import utc_now
from toolkit.redaction import redact

COULD_NOT_LOOK = "could not look"  # how the evidence of a check begins that raised


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """An outcome and the evidence for it, in words and figures that a person can follow."""

    outcome: Outcome
    evidence: str


def passed(evidence: str) -> Finding:
    return Finding(Outcome.PASS, evidence)


def failed(evidence: str) -> Finding:
    return Finding(Outcome.FAIL, evidence)


def unknown(evidence: str) -> Finding:
    return Finding(Outcome.UNKNOWN, evidence)


def judge(holds: bool, evidence: str) -> Finding:
    """Pass when it holds, fail when not, on the same evidence."""
    return Finding(Outcome.PASS if holds else Outcome.FAIL, evidence)


@dataclass(frozen=True)
class Check:
    """`look` looks and judges. Whatever it raises makes the outcome unknown: it could not look.

    Where an `optional` one is unknown, that is told, and stands in the way of nothing.
    """

    name: str
    area: str
    look: Callable[[], Finding]
    optional: bool = False


@dataclass(frozen=True)
class CheckResult:
    name: str
    area: str
    outcome: Outcome
    evidence: str
    at: datetime
    seconds: float
    optional: bool = False

    @property
    def stands_in_the_way(self) -> bool:
        """Whether it keeps a set of checks from passing."""
        return self.outcome is Outcome.FAIL or (self.outcome is Outcome.UNKNOWN and not self.optional)


def run_check(check: Check) -> CheckResult:
    """Never raises, interrupts apart."""
    at, began = utc_now(), time.monotonic()
    try:
        finding = check.look()
    except Exception as error:  # unknown, whatever stood in the way
        finding = unknown(f"{COULD_NOT_LOOK}: {type(error).__name__}: {error}")
    seconds, evidence = round(time.monotonic() - began, 4), redact(finding.evidence)
    return CheckResult(check.name, check.area, finding.outcome, evidence, at, seconds, check.optional)


def run_checks(checks: Iterable[Check]) -> list[CheckResult]:
    """One after the other, all of them, whatever comes of each."""
    return [run_check(check) for check in checks]


def overall(results: Sequence[CheckResult]) -> Outcome:
    """Fail if one failed; otherwise unknown if one is unknown or if there is none; otherwise pass.

    An optional one that is unknown does not count.
    """
    outcomes = {result.outcome for result in results if result.stands_in_the_way or result.outcome is Outcome.PASS}
    if Outcome.FAIL in outcomes:
        return Outcome.FAIL
    return Outcome.PASS if outcomes == {Outcome.PASS} else Outcome.UNKNOWN


def tally(results: Sequence[CheckResult]) -> dict[str, int]:
    """How many passed, failed and are unknown: {'pass': n, 'fail': n, 'unknown': n}."""
    return {outcome.value: sum(result.outcome is outcome for result in results) for outcome in Outcome}

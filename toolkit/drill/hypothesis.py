"""The steady-state hypothesis: what is true of a service that is well, asked on the senders' side and of the data.

As in Chaos Toolkit it is probes with tolerances, looked at before the fault, during it and after the answer. It is the
facilitator's measure: it reads the senders' ledger and asks the database as its superuser, and shares nothing with the
monitor or the verification, which it judges. What could not be seen is unknown, and unknown does not hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import psycopg
from pydantic import BaseModel, ConfigDict

from toolkit.drill.ledger import live
from toolkit.drill.state import SandboxState

WINDOW_S = 3.0
LEAST_REQUESTS = 10
ASKED_WITHIN_MS = 3000

Figures = Mapping[str, Any]  # a probe's answer by its question; a question that was not answered is not in it


class Probe(BaseModel):
    """A question in SQL with one value as its answer, and what that must be: `true`, no less than before the fault, or
    as it was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    ask: str
    tolerance: Literal["true", "not less", "as before"]


class Hypothesis(BaseModel):
    """Of the requests that ended within the last three seconds, at most `failed_at_most` failed (a share), 95 % took
    less than `slow_ms`, and webhooks were acknowledged; and each probe's answer is within its tolerance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    failed_at_most: float = 0.02
    slow_ms: float = 2500
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True)
class Look:
    """One statement of the hypothesis as it was found. `holds` is None where it could not be seen."""

    what: str
    holds: bool | None
    seen: str

    def row(self) -> dict[str, object]:
        return asdict(self)


def holds(looks: Sequence[Look]) -> bool:
    """Whether all of it was seen to hold."""
    return all(look.holds is True for look in looks)


def figures(hypothesis: Hypothesis, state: SandboxState) -> Figures:
    """What the probes answer just now. A question that fails, or takes too long, is left out."""
    found: dict[str, Any] = {}
    try:
        with psycopg.connect(state.admin_url, connect_timeout=2, autocommit=True) as conn:
            conn.execute("SELECT set_config('statement_timeout', %s, false)", (str(ASKED_WITHIN_MS),))
            conn.execute("SET default_transaction_read_only = on")
            for probe in hypothesis.probes:
                try:
                    row = conn.execute(probe.ask.encode()).fetchone()
                except psycopg.Error as error:
                    if conn.broken:
                        raise
                    found[f"{probe.ask}!"] = error.diag.message_primary or type(error).__name__
                else:
                    found[probe.ask] = row[0] if row else None
    except psycopg.Error:
        pass
    return found


def look(hypothesis: Hypothesis, state: SandboxState, before: Figures) -> list[Look]:
    """All of it, just now. `before`: the figures from when the service was well."""
    now = figures(hypothesis, state) if hypothesis.probes else {}
    return [*_sent(hypothesis, state), *(judged(probe, before, now) for probe in hypothesis.probes)]


def _sent(hypothesis: Hypothesis, state: SandboxState) -> list[Look]:
    ledger = state.options.evidence / "ledger.sqlite"
    rates = live(ledger, WINDOW_S)
    enough = rates.requests >= LEAST_REQUESTS
    share, slow, acknowledged = rates.error_rate or 0.0, rates.p95_ms or 0.0, rates.acknowledged
    within = f"in {WINDOW_S:g} s"
    return [
        Look(
            f"at most {hypothesis.failed_at_most:.0%} of the requests fail",
            share <= hypothesis.failed_at_most if enough else None,
            f"{rates.failed} of {rates.requests} failed {within}",
        ),
        Look(
            f"95 % of them take less than {hypothesis.slow_ms:g} ms",
            slow < hypothesis.slow_ms if enough else None,
            f"up to {slow:.0f} ms",
        ),
        Look("webhooks are acknowledged", acknowledged > 0, f"{acknowledged} {within}"),
    ]


def judged(probe: Probe, before: Figures, now: Figures) -> Look:
    """A probe's answer by its tolerance. Unknown where it was not answered now, or, where that matters, before."""
    if probe.ask not in now:
        return Look(probe.what, None, str(now.get(f"{probe.ask}!", "the database did not answer")))
    is_now = now[probe.ask]
    if probe.tolerance == "true":
        return Look(probe.what, is_now is True, f"{is_now}")
    if probe.ask not in before:
        return Look(probe.what, None, f"{is_now}; what it was before is not known")
    was = before[probe.ask]
    well = is_now >= was if probe.tolerance == "not less" else is_now == was
    return Look(probe.what, well, f"{is_now}, and was {was}")

"""The score of one drill: what happened, how long it took, and whether anything was lost. Figures, no grade.

It is read off the evidence: the facilitator's journal for when it broke, the incident's journal for what was done about
it, the senders' ledger and the final read of the database for what became of each event. It runs nothing.
"""

import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

import toolkit
from toolkit.checks import Outcome
from toolkit.clock import utc_now
from toolkit.drill.judgement import Decision, Kept, decision, kept, looks
from toolkit.drill.ledger import Accounting, downtime, totals
from toolkit.drill.scenario import load_scenario
from toolkit.errors import ToolkitError
from toolkit.incident import FACILITATOR_FILE, Incident, State
from toolkit.journal import Journal
from toolkit.playbook import Severity, load_playbook

SCORE_FILE = "score.json"
LOOKS = ("before", "during", "after")


class Score(BaseModel):
    """What `score.json` holds.

    Times are seconds from the moment the fault began to be put in; None where it did not come to that. `outcome` is
    'resolved', 'mitigated', 'detected', 'not detected' or 'interrupted': how far it came. `stopped_by` tells what ended
    the line before its end. `checks` are counts by outcome, all 0 where nothing was verified. `downtime_s` and
    `degraded_s` are whole seconds as the senders saw them. `phases` are seconds by name, in order. `hypothesis` tells
    whether it held 'before', 'during' and 'after' the fault, by the facilitator's looks. `version` is this package's,
    `revision` the commit that it was run from, '' for none. What could not be counted is None.
    """

    model_config = ConfigDict(frozen=True)

    scenario: str
    seed: int
    outcome: str
    verified: bool
    severity: Severity | None
    time_to_detect_s: float | None
    time_to_acknowledge_s: float | None
    time_to_decide_s: float | None = None
    time_to_mitigate_s: float | None
    time_to_resolve_s: float | None
    requests: int | None
    failed_requests: int | None
    acknowledged: int | None
    lost: int | None
    duplicated: int | None
    unexpected: int | None
    recovered: int | None
    effects_wrong: int | None
    downtime_s: int | None
    degraded_s: int | None
    checks: Mapping[str, int]
    hypothesis: Mapping[str, bool] = {}
    decision: Decision = Decision()
    kept: Kept = Kept()
    phases: Mapping[str, float]
    journal_head: Mapping[str, Any]
    facilitator_head: Mapping[str, Any] = {}
    stopped_by: str | None = None
    version: str = ""
    revision: str = ""

    @property
    def passed(self) -> bool:
        """Resolved, verified, well again as senders and data see it, nothing lost, doubled or invented, and the line
        ran to its end.
        """
        none_wrong = (self.lost, self.duplicated, self.unexpected, self.effects_wrong) == (0, 0, 0, 0)
        accounted = bool(self.acknowledged) and none_wrong and self.hypothesis.get("after") is True
        return self.outcome == "resolved" and self.verified and accounted and self.stopped_by is None

    def rows(self) -> list[dict[str, object]]:
        """What a person compares with last month's, a figure a row."""
        names = {
            "outcome": self.outcome,
            "severity": self.severity or "none",
            "time to detect": _seconds(self.time_to_detect_s),
            "time to acknowledge": _seconds(self.time_to_acknowledge_s),
            "time to decide": _seconds(self.time_to_decide_s),
            "time to mitigate": _seconds(self.time_to_mitigate_s),
            "time to resolve": _seconds(self.time_to_resolve_s),
            "recommended": _verdict(self.decision.recommended, self.decision.recommendation),
            "done": _verdict(", then ".join(self.decision.done), self.decision.verdict),
            "down / degraded, as the senders saw it": f"{_count(self.downtime_s)} s / {_count(self.degraded_s)} s",
            "requests / failed": f"{_count(self.requests)} / {_count(self.failed_requests)}",
            "events acknowledged": _count(self.acknowledged),
            "lost": _count(self.lost),
            "duplicated": _count(self.duplicated),
            "unexpected": _count(self.unexpected),
            "effects missing or doubled": _count(self.effects_wrong),
            "well before / during / after": " / ".join(_held(self.hypothesis.get(when)) for when in LOOKS),
            "updates made / missed": f"{self.kept.updates_made} / {self.kept.updates_missed}",
            "checklist items settled": f"{self.kept.settled} of {sum(self.kept.checklist.values())}",
            "checks": ", ".join(f"{count} {outcome}" for outcome, count in self.checks.items())
            if any(self.checks.values())
            else "none ran",
        }
        return [{"figure": name, "value": value} for name, value in names.items()]

    @property
    def exit_code(self) -> int:
        """0 passed; 3 all done but not verified; 130 interrupted; 1 otherwise."""
        if self.passed:
            return 0
        if self.outcome == "interrupted":
            return 130
        return 3 if self.outcome in ("mitigated", "resolved") and not self.verified else 1


def score_drill(
    folder: Path,
    scenario: str,
    seed: int,
    accounting: Accounting | None,
    phases: Mapping[str, float],
    stopped_by: str | None,
) -> Score:
    """Read the score off a drill's folder, in which both journals are, and the ledger where it came to that.

    Without an accounting (the database was gone) nothing is claimed of the events.
    """
    incident = Incident(folder)
    broke_at = moment_of_fault(folder)
    decided = decision(load_scenario(scenario), incident)
    verification = incident.latest("verification.made")
    moments = {state: _since(broke_at, incident.moment(state)) for state in State}
    head = incident.journal.head()
    return Score(
        scenario=scenario,
        seed=seed,
        outcome=_outcome(incident.state, stopped_by),
        verified=verification is not None and verification.data["outcome"] == Outcome.PASS,
        severity=incident.worst_severity,
        time_to_detect_s=moments[State.OPEN],
        time_to_acknowledge_s=moments[State.ACKNOWLEDGED],
        time_to_decide_s=_since(broke_at, decided.at),
        time_to_mitigate_s=moments[State.MITIGATED],
        time_to_resolve_s=moments[State.RESOLVED],
        **_sent(folder / "ledger.sqlite", broke_at),
        **_accounted(accounting),
        checks=dict.fromkeys((outcome.value for outcome in Outcome), 0)
        | (verification.data["tally"] if verification else {}),
        hypothesis=looks(folder),
        decision=decided,
        kept=kept(load_playbook(), incident, utc_now()),
        phases=dict(phases),
        journal_head={"seq": head.seq, "hash": head.hash},
        stopped_by=stopped_by,
        version=toolkit.__version__,
        revision=_revision(),
    )


def _revision() -> str:
    """The commit of this package's folder, shortened; '' where it is installed elsewhere, or git is not there."""
    package = Path(toolkit.__file__).parent
    argv = ["git", "-C", str(package), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _sent(ledger: Path, since: datetime | None) -> dict[str, int | None]:
    names = ("requests", "failed_requests", "downtime_s", "degraded_s")
    try:
        senders, down = totals(ledger), downtime(ledger, since)
    except ToolkitError:
        return dict.fromkeys(names)
    counts = (senders.requests, senders.failed, down.downtime_s, down.degraded_s)
    return dict(zip(names, counts, strict=True))


def _accounted(accounting: Accounting | None) -> dict[str, int | None]:
    names = ("acknowledged", "lost", "duplicated", "unexpected", "recovered")
    if accounting is None:
        return dict.fromkeys((*names, "effects_wrong"))
    wrong = (accounting.effects_missing, accounting.effects_doubled, accounting.baseline_missing)
    counted: dict[str, int | None] = {name: getattr(accounting, name).count for name in names}
    return counted | {"effects_wrong": sum(tally.count for tally in wrong)}


def moment_of_fault(folder: Path) -> datetime | None:
    """When the fault began to be put in, by the facilitator's journal, UTC."""
    entries = Journal(folder / FACILITATOR_FILE, folder.name).entries()
    return next((entry.at for entry in entries if entry.kind == "fault.begun"), None)


def _since(begin: datetime | None, moment: datetime | None) -> float | None:
    return round((moment - begin).total_seconds(), 3) if begin and moment else None


def _held(value: bool | None) -> str:
    return "not looked" if value is None else "yes" if value else "no"


def _verdict(kind: str, verdict: str) -> str:
    return f"{kind.replace('-', ' ')}: {verdict}" if kind else "nothing"


def _count(value: int | None) -> int | str:
    return "not counted" if value is None else value


def _seconds(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.1f} s"


def _outcome(state: State | None, stopped_by: str | None) -> str:
    if stopped_by == "interrupted":
        return stopped_by
    return {
        None: "not detected",
        State.OPEN: "detected",
        State.ACKNOWLEDGED: "detected",
        State.MITIGATED: "mitigated",
        State.RESOLVED: "resolved",
    }[state]

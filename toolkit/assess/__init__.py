"""Assess: what is going on, why, and what to do about it. Looks and reasons; changes nothing on the target.

asking      questions side by side, taken at one deadline
views       what can be seen, from four sides at once (sessions, catalog: of the database)
status      each part as a check
gathering   from what was seen and journaled to facts
reasoning   from facts to hypotheses and a recommendation, pure
options     every way there is, by what it costs, pure
changes     what changed when, with the onset
decision    what was decided, by whom and why
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from toolkit.adapters.systems import Systems
from toolkit.assess.changes import changes
from toolkit.assess.facts import Facts
from toolkit.assess.gathering import facts_of, failing_since
from toolkit.assess.options import Costs, Option, compare
from toolkit.assess.reasoning import Cause, Confidence, Hypothesis, Recommendation, hypotheses, recommend
from toolkit.assess.status import status_checks
from toolkit.assess.tables import error_rows, lock_rows, scope_rows
from toolkit.assess.views import Views, look
from toolkit.checks import CheckResult, run_checks, tally
from toolkit.clock import utc_now
from toolkit.detect.seen import Reading, Signal
from toolkit.detect.severity import classify
from toolkit.incident import Incident
from toolkit.playbook import Playbook
from toolkit.rollback.backup.keeping import find_backups

Row = dict[str, object]


@dataclass(frozen=True)
class Assessment:
    """One look at the target, and what follows from it. The `…_rows` are for tables."""

    status: Sequence[CheckResult]
    views: Views
    facts: Facts
    hypotheses: Sequence[Hypothesis]
    recommendation: Recommendation
    options: Sequence[Option] = ()
    failing_since: Mapping[str, datetime] = field(default_factory=dict)  # by path, as the monitor first saw it, UTC

    @property
    def headline(self) -> str:
        """One sentence: the best hypothesis and what to do."""
        best, advice = self.hypotheses[0], self.recommendation
        to = "" if advice.migration_target is None else f" to version {advice.migration_target}"
        what = "no rollback" if advice.kind == "none" else f"{advice.kind} rollback{to}"
        return f"{best.title} ({best.confidence}). Recommended: {what}."

    def advice(self) -> str:
        """The recommendation with its reasons and what speaks against it, as Markdown."""
        reasons = "\n".join(f"- {reason}" for reason in self.recommendation.reasons)
        against = "\n".join(f"- {reason}" for reason in self.recommendation.against)
        return f"**{self.headline}**\n\nBecause:\n\n{reasons}\n\nWhat speaks against it:\n\n{against}{self._command()}"

    def _command(self) -> str:
        best = self.options[0].command if self.options else ""
        return f"\n\nIts plan, which changes nothing yet: `{best}`" if best.startswith("emergency") else ""

    def scope_rows(self) -> list[Row]:
        """Requests by path, the most failing first: on which deployment, since when, and what the failing ones said."""
        return scope_rows(self.views, self.facts, self.failing_since)

    def error_rows(self) -> list[Row]:
        """Failures by the server's code, endpoint and deployment."""
        return error_rows(self.facts)

    def lock_rows(self) -> list[Row]:
        """Who waits for whom."""
        return lock_rows(self.views)

    def change_rows(self) -> list[Row]:
        """Deployments, migrations, verification and onset on one line of time, newest first."""
        return [each.row(self.facts.onset) for each in changes(self.views, self.facts)]

    def option_rows(self) -> list[Row]:
        """Every way there is, the recommended one first."""
        return [each.row() for each in self.options]

    def hypothesis_rows(self) -> list[Row]:
        return [
            {
                "hypothesis": each.title,
                "evidence": each.confidence.value,
                "for": " ".join(each.supporting) or "nothing",
                "against": " ".join(each.against) or "nothing",
            }
            for each in self.hypotheses
        ]

    def to_json(self) -> dict[str, object]:
        """As the journal keeps it: no rows, no payloads."""
        traffic, database = self.views.traffic.value, self.views.database.value
        return {
            "summary": self.headline,
            "scope": traffic.steady_state() if traffic else {},
            "errors": traffic.errors_as_json() if traffic else [],
            "error_classes": self.error_rows(),
            "locks": self.lock_rows(),
            "changes": self.change_rows(),
            "onset": self.facts.onset,
            "hypotheses": [
                {
                    "cause": each.title,
                    "confidence": each.confidence,
                    "supporting": list(each.supporting),
                    "against": list(each.against),
                }
                for each in self.hypotheses
            ],
            "recommendation": asdict(self.recommendation),
            "options": [asdict(each) for each in self.options],
            "server": asdict(database.identity) if database else None,
            "checks": [asdict(result) for result in self.status],
            "tally": tally(self.status),
        }


def assess(systems: Systems, incident: Incident, *, actor: str) -> Assessment:
    """Look, reason, and journal what came of it. Raises only JournalError: what cannot be seen is unknown."""
    views = look(systems)
    facts = facts_of(views, systems, incident)
    ranked = hypotheses(facts)
    advice = recommend(facts, ranked)
    where = f"--target {systems.target.name} --incident {incident.folder}"
    options = compare(facts, ranked, advice, _costs(views, systems, incident), where=where)
    results = run_checks(status_checks(views, systems.playbook, systems.target))
    assessment = Assessment(results, views, facts, ranked, advice, options, failing_since(incident))
    incident.record("assessment.made", assessment.to_json(), actor=actor)
    _raise_severity(incident, facts, ranked[0], systems.playbook, actor)
    return assessment


def _costs(views: Views, systems: Systems, incident: Incident) -> Costs:
    """Figures by the catalogs, and the newest backup of this target by the manifests on this machine."""
    tables = views.of_database(lambda view: view.tables).value
    traffic = views.traffic.value
    folders = [each for each in (systems.target.backups, incident.folder) if each and each.is_dir()]
    found, _ = find_backups(folders)
    mine = [each for each in found if each.manifest.target == systems.target.name and not each.damage]
    return Costs(
        rate_per_s=traffic.rate_per_s if traffic else None,
        bytes=sum(each.bytes for each in tables) if tables is not None else None,
        backup_at=mine[0].created_at if mine else None,
        backup=mine[0].level.title if mine else "",
        now=utc_now(),
    )


def _raise_severity(incident: Incident, facts: Facts, best: Hypothesis, playbook: Playbook, actor: str) -> None:
    """A migration that makes requests fail is as severe as the playbook says; never less than it is now."""
    now, rate, limit = incident.severity, facts.error_rate or 0, playbook.thresholds.error_rate
    strong = best.cause is Cause.MIGRATION and best.confidence is Confidence.STRONG
    if incident.state is None or not strong or rate < limit:
        return
    evidence = f"{best.title.lower()} by strong evidence, and {rate:.0%} of the requests fail"
    found = classify({Signal.MIGRATION_FAILURE: Reading(True, rate, limit, evidence)}, playbook.severity)
    if found and (now is None or found.severity.worse_than(now)):
        incident.change_severity(found.severity, found.reasons, actor=actor)

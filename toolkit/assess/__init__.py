"""Assess: what is going on, why, and what to do about it. Looks and reasons; changes nothing on the target.

views       what can be seen, from four sides at once
status      each part as a check
reasoning   from facts to hypotheses and a recommendation, pure
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from toolkit.adapters.systems import Systems
from toolkit.assess.reasoning import (
    AppliedMigration,
    Cause,
    Confidence,
    Facts,
    Failure,
    Hypothesis,
    Recommendation,
    Release,
    hypotheses,
    recommend,
)
from toolkit.assess.status import status_checks
from toolkit.assess.views import Views, look
from toolkit.checks import CheckResult, run_checks, tally
from toolkit.clock import iso
from toolkit.detect.seen import Reading, Signal
from toolkit.detect.severity import classify
from toolkit.errors import ToolkitError
from toolkit.incident import Incident
from toolkit.playbook import Playbook
from toolkit.rollback.down_sql import LossKind, losses
from toolkit.rollback.migrations import Script, read_folder
from toolkit.rollback.sql_lexer import SqlError

CHANGES_SHOWN = 8

Row = dict[str, object]


@dataclass(frozen=True)
class Assessment:
    """One look at the target, and what follows from it. The `…_rows` are for tables."""

    status: Sequence[CheckResult]
    views: Views
    facts: Facts
    hypotheses: Sequence[Hypothesis]
    recommendation: Recommendation
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
        return f"**{self.headline}**\n\nBecause:\n\n{reasons}\n\nWhat speaks against it:\n\n{against}"

    def scope_rows(self) -> list[Row]:
        """Requests by path, the most failing first: on which deployment, since when, and what the failing ones said."""
        traffic, platform = self.views.traffic.value, self.views.platform.value
        if traffic is None or not traffic.requests:
            return [
                {"path": "unknown", "requests": "", "failed": "", "what they said": self.views.traffic.trouble or ""}
            ]
        said = {f.path: f.message or f"status {f.status}" for f in reversed(self.facts.errors)}
        return [
            {
                "path": each.path,
                "deployment": platform.production.id if platform else "unknown",
                "requests": each.requests,
                "failed": each.failed,
                "share": f"{each.failed / each.requests:.0%}",
                "failing since": self._since(each.path) if each.failed else "",
                "what they said": said.get(each.path, "") if each.failed else "",
            }
            for each in sorted(traffic.paths, key=lambda each: -each.failed)
        ]

    def _since(self, path: str) -> str:
        at = self.failing_since.get(path)
        return f"{iso(at)[:19]}Z or before" if at else "not recorded"

    def change_rows(self) -> list[Row]:
        """Deployments, newest first, with the migrations that are live but were never verified on top."""
        stable = self.facts.stable_version
        recent = [m for m in self.facts.migrations if stable is not None and m.version > stable]
        rows: list[Row] = [
            {"what": f"migration {m.version} {m.name}", "when": "since the last verification", "now": "applied"}
            for m in reversed(recent)
        ]
        platform = self.views.platform.value
        for each in (platform.deployments if platform else ())[:CHANGES_SHOWN]:
            live = "live" if platform and each.id == platform.production.id else each.state.lower()
            what = f"deployment {each.id}: {each.commit_message or 'no message'}"
            rows.append({"what": what, "when": iso(each.created_at)[:19] + "Z", "now": live})
        return rows

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


def assess(systems: Systems, incident: Incident, *, actor: str) -> Assessment:
    """Look, reason, and journal what came of it. Raises only JournalError: what cannot be seen is unknown."""
    views = look(systems)
    facts = _facts(views, systems, incident)
    ranked = hypotheses(facts)
    results = run_checks(status_checks(views, systems.playbook, systems.target))
    assessment = Assessment(results, views, facts, ranked, recommend(facts, ranked), _failing_since(incident))
    incident.record("assessment.made", _as_json(assessment), actor=actor)
    _raise_severity(incident, facts, ranked[0], systems.playbook, actor)
    return assessment


def _facts(views: Views, systems: Systems, incident: Incident) -> Facts:
    platform, traffic = views.platform.value, views.traffic.value
    migration = views.of_database(lambda view: view.migration).value
    stable = views.of_database(lambda view: view.stable).value
    version = migration.version if migration else None
    live = platform.production if platform else None
    return Facts(
        database_up=views.database.value is not None,
        dirty=migration.dirty if migration else None,
        version=version,
        stable_version=stable.version if stable else None,
        stable_deployment=stable.deployment if stable else None,
        production=Release(live.id, live.schema_version) if live else None,
        migrations=_applied(systems, version),
        errors=_failures(views, incident),
        error_rate=traffic.error_rate if traffic else None,
        shifted=_shifted(views, systems.playbook),
        gone=tuple(views.gone()),
    )


def _applied(systems: Systems, version: int | None) -> list[AppliedMigration]:
    """What is live, with its SQL; nothing where the folder of migrations cannot be read."""
    if version is None:
        return []
    try:
        found = read_folder(systems.target.migrations).between(None, version)
    except ToolkitError:
        return []
    return [
        AppliedMigration(m.version, m.name, m.up.content.decode(), m.down_problem, _rewrites(m.up))
        for m in reversed(found)
        if m.up
    ]


def _rewrites(up: Script) -> tuple[str, ...]:
    """The tables of which the text says that rows are changed or removed."""
    try:
        found = losses(up.statements)
    except SqlError:
        return ()
    return tuple(dict.fromkeys(".".join(loss.name) for loss in found if loss.kind is LossKind.ROWS))


def _shifted(views: Views, playbook: Playbook) -> dict[str, float]:
    """The watched columns whose values are others than when all was verified, by the share that changed."""
    apart = {column: views.apart(column) for column in playbook.database.watched_columns}
    return {column: share for column, share in apart.items() if share and share > playbook.thresholds.value_shift}


def _failures(views: Views, incident: Incident) -> list[Failure]:
    """What was just seen; where nothing failed meanwhile, what the monitor saw last."""
    if views.traffic.value and views.traffic.value.errors:
        return [Failure(count=count, **asdict(error)) for error, count in views.traffic.value.errors]
    observed = incident.latest("monitor.observed")
    return [Failure(**error) for error in observed.data.get("errors", [])] if observed else []


def _failing_since(incident: Incident) -> dict[str, datetime]:
    """Since when the monitor has seen a path fail at every look, up to its latest one."""
    since: dict[str, datetime] = {}
    for entry in incident.journal.entries():
        if entry.kind == "monitor.observed":
            failing = {str(error["path"]) for error in entry.data.get("errors", [])}
            since = {path: since.get(path, entry.at) for path in failing}
    return since


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


def _as_json(assessment: Assessment) -> dict[str, object]:
    traffic, database = assessment.views.traffic.value, assessment.views.database.value
    return {
        "summary": assessment.headline,
        "scope": traffic.steady_state() if traffic else {},
        "errors": traffic.errors_as_json() if traffic else [],
        "hypotheses": [
            {
                "cause": each.title,
                "confidence": each.confidence,
                "supporting": list(each.supporting),
                "against": list(each.against),
            }
            for each in assessment.hypotheses
        ],
        "recommendation": asdict(assessment.recommendation),
        "server": asdict(database.identity) if database else None,
        "checks": [asdict(result) for result in assessment.status],
        "tally": tally(assessment.status),
    }

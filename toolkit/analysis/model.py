"""The whole analysis of one incident, as the report and the notebooks use it: types inside, tables for people."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from toolkit.analysis import words
from toolkit.analysis.activities import Activity, find_activities
from toolkit.analysis.affected import Affected, measure_affected
from toolkit.analysis.impact import Impact, measure_impact
from toolkit.analysis.phases import DURATIONS, Mark, Phases, find_phases
from toolkit.analysis.references import References
from toolkit.analysis.response import Response, read_response
from toolkit.analysis.sources import Evidence, read_evidence
from toolkit.analysis.timeline import Event, merge_timeline
from toolkit.analysis.traffic import Traffic, read_traffic
from toolkit.playbook import Playbook


@dataclass(frozen=True)
class Analysis:
    """What a folder of evidence says. `traffic` and `impact` are None where no requests were recorded, `affected`
    where no ledger of events was kept.
    """

    playbook: Playbook
    evidence: Evidence
    traffic: Traffic | None
    response: Response
    phases: Phases
    impact: Impact | None
    affected: Affected | None
    timeline: tuple[Event, ...]
    activities: tuple[Activity, ...]

    @property
    def folder(self) -> Path:
        return self.evidence.folder

    @property
    def begin(self) -> datetime | None:
        """When the incident began, as far as is known: its impact, else its detection, else the first entry. UTC."""
        known = [self.phases.at(Mark.BEGAN), self.phases.at(Mark.DETECTED)]
        known += [event.at for event in self.timeline[:1]]
        return next((moment for moment in known if moment), None)

    @property
    def end(self) -> datetime | None:
        """When it was resolved; None while it is not. UTC."""
        return self.phases.at(Mark.RESOLVED)

    def sources_table(self) -> pd.DataFrame:
        """source, file, items, unreadable, from and to (UTC), remarks. An absent source has no items."""
        rows = [
            {
                "source": state.source.value,
                "file": state.file,
                "items": state.items if state.present else "absent",
                "unreadable": state.bad,
                "from (UTC)": words.clock(state.first) if state.first else "",
                "to (UTC)": words.clock(state.last) if state.last else "",
                "remarks": "; ".join(state.problems),
            }
            for state in self.evidence.states
        ]
        return pd.DataFrame(rows)

    def phases_table(self) -> pd.DataFrame:
        """moment, time (UTC), after impact began (s), how it is known, evidence."""
        began = self.phases.at(Mark.BEGAN)
        rows = [
            {
                "moment": moment.mark.value,
                "time (UTC)": words.clock(moment.at),
                "after impact began (s)": round((moment.at - began).total_seconds(), 1)
                if moment.at and began
                else None,
                "how it is known": moment.how,
                "evidence": cited(moment.references),
            }
            for moment in self.phases.moments.values()
        ]
        return pd.DataFrame(rows)

    def durations_table(self) -> pd.DataFrame:
        """duration, seconds (None where not measured), evidence."""
        rows = [
            {"duration": name, "seconds": self.phases.duration(name), "evidence": cited(self.phases.cited(*marks))}
            for name, marks in DURATIONS.items()
        ]
        return pd.DataFrame(rows)

    def timeline_table(self) -> pd.DataFrame:
        """time (UTC), who, kind, what, evidence."""
        rows = [
            {
                "time (UTC)": words.clock(event.at),
                "who": event.actor,
                "kind": event.kind.value,
                "what": event.sentence,
                "evidence": cited(event.references),
            }
            for event in self.timeline
        ]
        return pd.DataFrame(rows, columns=["time (UTC)", "who", "kind", "what", "evidence"])

    def impact_table(self) -> pd.DataFrame:
        """One row a window: requests, failed, error rate, latency. Without requests: no rows."""
        rows = [
            {
                "window": window.name,
                "requests": window.requests,
                "failed": window.failed,
                "error rate": words.share(window.error_rate),
                **{name: words.milliseconds(value) for name, value in window.latency_ms.items()},
                "evidence": str(window.reference),
            }
            for window in (self.impact.windows if self.impact else ())
        ]
        names = ["window", "requests", "failed", "error rate", "p50", "p95", "p99", "evidence"]
        return pd.DataFrame(rows, columns=names)

    def failures_table(self) -> pd.DataFrame:
        """What failed alike, as the service logged it, else as the senders met it: count, what, message, evidence."""
        failures = (self.impact.logged or self.impact.failures) if self.impact else ()
        rows = [
            {
                "count": failure.count,
                "what": failure.title,
                "constraint": failure.constraint or "",
                "message": failure.message or "",
                "evidence": str(failure.reference),
            }
            for failure in failures
        ]
        return pd.DataFrame(rows, columns=["count", "what", "constraint", "message", "evidence"])


def cited(references: References) -> str:
    """`J3, J5`; '' without any."""
    return ", ".join(str(reference) for reference in references)


def analyse(folder: Path | str, playbook: Playbook) -> Analysis:
    """Read a folder and analyse what is in it. Sources that are missing or damaged leave gaps that are told."""
    evidence = read_evidence(Path(folder))
    traffic = read_traffic(evidence, playbook)
    response = read_response(evidence.journal, evidence.facilitator)
    phases = find_phases(evidence.journal, traffic, response.drill)
    impact = None
    if traffic is not None:
        since = phases.at(Mark.FAULT) or phases.at(Mark.BEGAN)
        impact = measure_impact(traffic, evidence.log, since=since, degraded_share=playbook.thresholds.error_rate)
    timeline = merge_timeline(evidence.journal, evidence.facilitator, phases, impact)
    activities = find_activities(evidence, phases)
    affected = measure_affected(evidence.events) if evidence.events is not None else None
    return Analysis(playbook, evidence, traffic, response, phases, impact, affected, timeline, activities)

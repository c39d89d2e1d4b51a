"""The post-mortem's sentences on what happened. Each is made of figures that were measured and ends with its evidence,
or says that nothing was measured, and why.

No sentence judges. What needs judgement is a question, and stands in the template.
"""

from collections.abc import Iterator

from toolkit.analysis import Analysis, words
from toolkit.analysis.entries import cite
from toolkit.analysis.phases import DURATIONS, Mark, Moment
from toolkit.analysis.references import Source
from toolkit.analysis.sources import SourceState
from toolkit.report.citations import Citations, markdown

SOURCE_NAMES = {
    Source.JOURNAL: "the incident's journal",
    Source.FACILITATOR: "the drill facilitator's journal",
    Source.REQUESTS: "requests as their senders recorded them",
    Source.LOG: "the service's log",
    Source.EVENTS: "the senders' ledger of events",
}
ACCOUNTING_JUDGED = {"lost", "duplicated", "unexpected", "baseline_missing", "effects_missing", "effects_doubled"}


class Statements:
    """Sentences in Markdown about one analysis. `cite` remembers what they cite."""

    def __init__(self, analysis: Analysis, citations: Citations) -> None:
        self._analysis, self._cite = analysis, citations
        self._response, self._phases, self._impact = analysis.response, analysis.phases, analysis.impact

    def title(self) -> str:
        """What failed most, on which day; without failures the incident's folder."""
        service = self._analysis.playbook.service.title
        failures = (self._impact.logged or self._impact.failures) if self._impact else ()
        what = (
            f"{failures[0].how} on {failures[0].method} {failures[0].path}" if failures else self._analysis.folder.name
        )
        when = f", {words.day(self._analysis.begin)}" if self._analysis.begin else ""
        return markdown(f"{'Drill, ' if self._response.drill else ''}{service}: {what}{when}")

    def drill(self) -> str:
        drill = self._response.drill
        assert drill is not None
        where = f" on the target `{drill.target}`" if drill.target else ""
        said = f"Scenario `{drill.scenario or words.NOT_MEASURED}`, seed {drill.seed or words.NOT_MEASURED}{where}"
        sentences = [f"{markdown(said)} {self._cite(drill.reference)}."]
        if drill.begun:
            at = words.clock(drill.begun.at)
            sentences.append(
                f"The fault was put in on purpose at {at} {self._cite(cite(drill.begun, Source.FACILITATOR))}."
            )
        return " ".join(sentences)

    def how_to_read(self) -> str:
        return (
            "A letter and a number name the evidence of a statement and lead to it: "
            "J the incident's journal, F the drill facilitator's, L a line of the service's log, R a recorded request, "
            "E the ledger of events. "
            "*Not measured* means that the evidence does not hold it. Open questions are for people."
        )

    def date(self) -> str:
        begin, end = self._analysis.begin, self._analysis.end
        if begin is None:
            return "not measured"
        began, resolved = self._phases.moments[Mark.BEGAN], self._phases.moments[Mark.RESOLVED]
        references = began.references if began.at else self._phases.cited(Mark.DETECTED)
        said = f"{words.day(begin)}, {words.clock(begin)}"
        if end is None:
            return f"{said} UTC {self._cite(references)}; when it was resolved was not measured"
        same_day = "" if begin.date() == end.date() else f"{words.day(end)}, "
        return f"{said} to {same_day}{words.clock(end)} UTC {self._cite(references + resolved.references)}"

    def duration(self) -> str:
        """From the beginning of the impact to the declared resolution, in the playbook's form."""
        seconds = self._phases.seconds(Mark.BEGAN, Mark.RESOLVED)
        if seconds is None:
            return f"not measured ({self._missing(Mark.BEGAN, Mark.RESOLVED)})"
        said = f"{words.hours_and_minutes(seconds)}, from the beginning of the impact to resolved"
        return f"{said} {self._cite(self._phases.cited(Mark.BEGAN, Mark.RESOLVED))}"

    def severity(self) -> str:
        opening = self._response.opening
        if opening is None:
            return "not measured (the journal opens no incident with a severity)"
        changed = {opening.first, opening.last} != {opening.worst}
        course = f" at worst (opened as {opening.first}, {opening.last} at last)" if changed else ""
        reasons = "; ".join(markdown(reason.rstrip(".")) for reason in opening.reasons)
        return f"{opening.worst}{course}{f': {reasons}' if reasons else ''} {self._cite(opening.references)}"

    def impact(self) -> str:
        """How many requests failed while it lasted, and of which kind most of them were."""
        if self._impact is None:
            return "not measured (no record of requests is in the evidence)"
        window = self._impact.window("during") or self._impact.windows[0]
        when = "during the incident" if window.name == "during" else "in all of the evidence"
        said = f"{window.failed:,} of {window.requests:,} requests {when} failed ({words.share(window.error_rate)})"
        sentences = [f"{said} {self._cite(window.reference)}."]
        if failures := self._impact.logged or self._impact.failures:
            most = failures[0]
            constraint = f", constraint `{most.constraint}`" if most.constraint else ""
            sentences.append(f"{most.count:,} × {markdown(most.title + constraint)} {self._cite(most.reference)}.")
        if self._impact.downtime_s or self._impact.degraded_s:
            sentences.append(self.downtime())
        return " ".join(sentences)

    def users(self) -> str:
        """Whose events failed, as a count."""
        affected = self._analysis.affected
        if affected is None:
            return "not measured. No record of whose requests they were is in the evidence."
        if not affected.events:
            return f"no event failed to be delivered at its first attempt {self._cite(affected.reference)}."
        late = f", the last of them {words.duration(affected.latest_s)} after it was sent first" * bool(
            affected.latest_s
        )
        later = affected.events - affected.undelivered
        return (
            f"{words.plural(affected.memberships, 'membership')}, of whose events {affected.events:,} failed at least "
            f"once {self._cite(affected.reference)}. Delivered later: {later:,}{late}; "
            f"never: {affected.undelivered:,}. Who looked at pages is not in the evidence."
        )

    def revenue(self) -> str:
        """What the failed events sum up to: no more than that is in the evidence."""
        affected = self._analysis.affected
        if affected is None:
            return "not measured. No amounts are in the evidence."
        if not affected.amounts:
            return f"no event with an amount failed {self._cite(affected.reference)}."
        sums = ", ".join(f"{words.money(each.cents)} in {each.events:,} × `{each.type}`" for each in affected.amounts)
        return (
            f"the events that failed at least once tell of {sums} {self._cite(affected.reference)}; "
            f"those that were never delivered of {words.money(affected.undelivered_cents)}. "
            "In the events' own currency; what of it was lost is not measured."
        )

    def downtime(self) -> str:
        assert self._impact is not None
        down, degraded = (words.plural(n, "second") for n in (self._impact.downtime_s, self._impact.degraded_s))
        limit = words.share(self._analysis.playbook.thresholds.error_rate)
        return (
            f"Down for {down} (no webhook was acknowledged) and degraded for {degraded} "
            f"(more than {limit} of requests failed) {self._cite(self._impact.reference)}."
        )

    def told_by(self) -> str:
        traffic = self._analysis.traffic
        assert traffic is not None
        return f"Counted in {traffic.told_by} {self._cite(traffic.whole)}."

    def other_stretches(self) -> Iterator[str]:
        """Stretches of failures apart from the incident's own."""
        traffic = self._analysis.traffic
        for other in traffic.scan.others if traffic else ():
            assert traffic is not None
            said = f"{other.failed:,} of {other.requests:,} requests failed apart from that"
            cited = self._cite(traffic.cite(other.begin, other.end))
            yield f"{said}, from {words.clock(traffic.time(other.begin))} on {cited}."

    def no_failures(self) -> str:
        if self._impact is None:
            return "Not measured: neither recorded requests nor the service's log are in the evidence."
        return f"No request failed {self._cite(self._impact.reference)}."

    def offset(self, moment: Moment) -> str:
        began = self._phases.at(Mark.BEGAN)
        if moment.at is None or began is None:
            return "–"
        return words.offset((moment.at - began).total_seconds())

    def how_known(self, moment: Moment) -> str:
        if moment.at is None:
            return f"{words.NOT_MEASURED}: {moment.how}"
        if moment.earliest and moment.latest:
            between = f"{words.clock(moment.earliest, digits=2)} and {words.clock(moment.latest, digits=2)}"
            return f"{moment.how}; between {between} (about 95 %)"
        return moment.how

    def duration_between(self, name: str, marks: tuple[Mark, Mark]) -> str:
        seconds = self._phases.duration(name)
        if seconds is None:
            return f"not measured ({self._missing(*marks)})"
        return f"{words.duration(seconds)} {self._cite(self._phases.cited(*marks))}"

    def since_fault(self) -> Iterator[tuple[Mark, str]]:
        """For drills: the same durations from the moment the fault was put in, as the score counts them."""
        if self._phases.at(Mark.FAULT) is None:
            return
        ends = [(end, self._phases.seconds(Mark.FAULT, end)) for _, end in DURATIONS.values()]
        known = [f"{end.value} {words.duration(seconds)}" for end, seconds in ends if seconds is not None]
        if known:
            cited = self._cite(self._phases.cited(Mark.FAULT, *(end for end, _ in ends)))
            yield Mark.FAULT, f"Counted from when the fault was put in: {words.listed(known)} {cited}"

    def accounting(self) -> str:
        accounting = self._response.accounting
        assert accounting is not None
        faults = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in accounting.faults.items())
        judged = [name for name in ("lost", "duplicated", "unexpected") if name in accounting.counts]
        acknowledged = accounting.counts.get("acknowledged")
        if faults:
            said = f"**Not every event is where it belongs**: {faults}"
        elif acknowledged and len(judged) == len(("lost", "duplicated", "unexpected")):
            said = f"Of {acknowledged:,} acknowledged events none was lost, duplicated or unexpected"
        else:
            said = "The accounting is incomplete: that nothing was lost is not proved"
        return f"{said} {self._cite(accounting.reference)}."

    def judged(self, name: str, count: int) -> str:
        """A word beside a count; examples of what must not be."""
        if name not in ACCOUNTING_JUDGED:
            return ""
        if not count:
            return "✓ none"
        accounting = self._response.accounting
        examples = accounting.examples.get(name, ())[:5] if accounting else ()
        return f"✗ {markdown(', '.join(examples))}" if examples else "✗"

    def remarks(self, state: SourceState) -> str:
        if not state.present:
            return "; ".join(state.problems) or "not in the folder: what it could tell is not measured"
        chained = state.source in (Source.JOURNAL, Source.FACILITATOR)
        return "; ".join(state.problems) or ("the chain of entries is whole" if chained else "read whole")

    def _missing(self, *marks: Mark) -> str:
        """Why a duration could not be measured."""
        missing = [self._phases.moments[mark].how for mark in marks if self._phases.at(mark) is None]
        return markdown("; ".join(missing) or "its moments come in the wrong order")

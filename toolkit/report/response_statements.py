"""The post-mortem's sentences on what was done: backup, plan, checks, detection, and what the evidence leaves open.

Each ends with its evidence, or says that nothing was measured, and why. No sentence judges.
"""

from collections.abc import Iterator

from toolkit.analysis import Analysis, fields, words
from toolkit.analysis.entries import cite, every, first
from toolkit.analysis.phases import Mark
from toolkit.analysis.references import Reference, Source
from toolkit.analysis.telling import role
from toolkit.journal import Entry
from toolkit.report.citations import Citations, markdown


class ResponseStatements:
    """Sentences in Markdown about the response. `cite` remembers what they cite."""

    def __init__(self, analysis: Analysis, citations: Citations) -> None:
        self._analysis, self._cite = analysis, citations
        self._response, self._journal = analysis.response, analysis.evidence.journal

    def backup(self) -> str:
        backup = self._response.backup
        if backup is None:
            return "Backup: not measured. The journal tells of none."
        if not backup.made:
            why = f": {markdown(backup.error)}" if backup.error else ""
            return f"The backup failed{why} {self._cite(backup.reference)}."
        rows = f", {sum(backup.tables.values()):,} rows in {words.plural(len(backup.tables), 'table')}"
        archive = f"; the archive is {markdown(backup.archive)}" if backup.archive else "; nobody read it back"
        took = f" in {words.duration(backup.seconds)}" if backup.seconds is not None else ""
        size = f": {words.size(backup.bytes)}" if backup.bytes is not None else ""
        return f"A backup was made{took}{size}{rows if backup.tables else ''}{archive} {self._cite(backup.reference)}."

    def plan(self) -> str:
        plan = self._response.plan
        assert plan is not None
        where = f" on the target `{plan.target}`" if plan.target else ""
        shown = "" if plan.executed else ", shown but not carried out"
        said = markdown(f"Plan: {plan.kind or 'unnamed'} rollback{where}{shown}")
        summary = f": {markdown(words.sentence(plan.summary))}" if plan.summary else "."
        others = f" Other plans: {self._cite(plan.others)}." if plan.others else ""
        return f"{said}{summary} {self._cite(plan.reference)}{others}"

    def verification(self) -> str:
        made = self._response.verification
        assert made is not None
        counted = f"{made.tally('pass')} passed, {made.tally('fail')} failed, {made.tally('unknown')} unknown"
        earlier = f" Earlier verifications: {self._cite(made.earlier)}." if made.earlier else ""
        outcome = markdown(made.outcome or "unknown")
        return f"Outcome: **{outcome}**. {counted}; unknown is not passed {self._cite(made.reference)}.{earlier}"

    def steady_states(self) -> Iterator[str]:
        """The steady state before and after, as measured by the toolkit."""
        for name, entry, source in (
            ("before", self._response.steady_before, Source.FACILITATOR),
            ("after", self._response.steady_after, Source.JOURNAL),
        ):
            if entry is None:
                yield f"Steady state {name}: not measured."
                continue
            rate, p50 = fields.number(entry.data, "error_rate"), fields.number(entry.data, "p50_ms")
            p95 = fields.number(entry.data, "p95_ms")
            figures = f"error rate {words.share(rate)}, p50 {words.milliseconds(p50)}, p95 {words.milliseconds(p95)}"
            yield f"Steady state {name}: {figures} {self._cite(cite(entry, source))}"

    def trigger(self) -> Iterator[str]:
        """What changed near the onset, and what the assessment ranked first."""
        told = False
        began, impact = self._analysis.phases.moments[Mark.BEGAN], self._analysis.impact
        for share in impact.deployments[1:] if impact and began.at else ():
            told = True
            when = self._relative((share.first - began.at).total_seconds()) if began.at else ""
            seen = Reference(share.reference.source, share.reference.first)
            name = markdown(f"`{share.deployment}`")
            yield f"Deployment {name} answered for the first time {when} {self._cite(seen)}."
        drill = self._response.drill
        if drill and drill.begun:
            told = True
            faults = drill.begun.data.get("faults") or [drill.begun.data.get("fault") or drill.begun.data]
            put_in = markdown("; ".join(fields.plain(dict(each)) for each in faults))
            yield f"Put in on purpose: {put_in} {self._cite(cite(drill.begun, Source.FACILITATOR))}."
        assessment = self._response.assessment
        if assessment and assessment.hypotheses:
            told = True
            best = assessment.hypotheses[0]
            yield f"Ranked first by the assessment: {markdown(best.title)} {self._cite(assessment.reference)}."
        if not told:
            yield "Not measured: the evidence holds no change near the onset."

    def detection(self) -> Iterator[str]:
        """Which signals were raised, how long after the onset, and what the health endpoints said meanwhile."""
        began = self._analysis.phases.moments[Mark.BEGAN]
        raised = every(self._journal, "signal.raised")
        for entry in raised:
            after = f" {self._relative((entry.at - began.at).total_seconds())}" if began.at and began.earliest else ""
            name = markdown(f"`{fields.text(entry.data, 'signal') or 'unnamed'}`")
            evidence = fields.text(entry.data, "evidence")
            said = f": {markdown(evidence.rstrip('.'))}" if evidence else ""
            yield f"The signal {name} was raised{after}{said} {self._cite(cite(entry))}."
        opened = first(self._journal, "incident.opened")
        if opened:
            yield f"The incident was opened by the {role(opened.actor)} {self._cite(cite(opened))}."
        if opened and (line := self._health_before(opened)):
            yield line
        if not raised and not opened:
            yield "Not measured: neither a signal nor an opened incident is in the journal."

    def went_well(self) -> list[str]:
        """What the evidence shows as working."""
        found = []
        plan, verification, backup = self._response.plan, self._response.verification, self._response.backup
        if backup and backup.made and backup.archive == "readable":
            found.append(f"A readable backup was there before anything was rolled back {self._cite(backup.reference)}.")
        if plan and plan.steps and all(step.state in ("done", "skipped") for step in plan.steps):
            references = tuple(step.references[-1] for step in plan.steps if step.references)
            found.append(f"Every step of the plan was carried out {self._cite(references)}.")
        if verification and verification.tally("pass"):
            passed, total = verification.tally("pass"), len(verification.checks)
            found.append(f"{passed} of {words.plural(total, 'check')} passed {self._cite(verification.reference)}.")
        accounting = self._response.accounting
        if accounting and accounting.counts.get("acknowledged") and accounting.counts.get("lost") == 0:
            found.append(f"No acknowledged event was lost {self._cite(accounting.reference)}.")
        return found

    def went_wrong(self) -> list[str]:
        """What failed while the incident was being dealt with."""
        found = []
        for step in self._response.plan.steps if self._response.plan else ():
            if step.state not in ("done", "skipped"):
                came = f": {markdown(step.outcome.rstrip('.'))}" if step.outcome else ""
                cited = self._cite(step.references or (self._plan_reference(),))
                found.append(f"Step {step.state}: {markdown(step.what)}{came} {cited}.")
        for entry in every(self._journal, "notebook.failed"):
            name = markdown(fields.text(entry.data, "notebook") or "?")
            found.append(f"The notebook {name} stopped {self._cite(cite(entry))}.")
        if (backup := self._response.backup) and not backup.made:
            found.append(self.backup())
        if (verification := self._response.verification) and (count := verification.tally("fail")):
            found.append(f"{words.plural(count, 'check')} failed {self._cite(verification.reference)}.")
        if (accounting := self._response.accounting) and accounting.faults:
            faults = words.listed([f"{count:,} {name.replace('_', ' ')}" for name, count in accounting.faults.items()])
            found.append(f"Events are not where they belong: {faults} {self._cite(accounting.reference)}.")
        return found

    def open_ends(self) -> list[str]:
        """What was left unknown or contradictory, for somebody to take up."""
        found = []
        if verification := self._response.verification:
            for check in verification.checks:
                if check.outcome != "pass":
                    outcome = "failed" if check.outcome == "fail" else "is unknown"
                    what = f"{markdown(check.name)} ({markdown(check.evidence.rstrip('.'))})"
                    found.append(f"A check {outcome}: {what} {self._cite(verification.reference)}")
        found += [f"{markdown(each.what)} {self._cite(each.references)}" for each in self._analysis.phases.conflicts]
        for state in self._analysis.evidence.states:
            if state.present and state.problems:
                problems = markdown("; ".join(state.problems))
                found.append(f"{markdown(state.file)}: {problems} {self._cite(Reference(state.source))}")
        return found

    def _plan_reference(self) -> Reference:
        assert self._response.plan is not None
        return self._response.plan.reference

    def _health_before(self, opened: Entry) -> str | None:
        """What the health endpoints answered at the monitor's last look before the incident was opened."""
        looks = [entry for entry in every(self._journal, "monitor.observed") if entry.seq < opened.seq]
        health = fields.within(looks[-1].data, "health") if looks else {}
        if not health:
            return None
        answers = ", ".join(f"{markdown(path)} {markdown(answer)}" for path, answer in health.items())
        seen = self._cite(cite(looks[-1]))
        return f"At the monitor's last look before that, health endpoints answered: {answers} {seen}."

    def _relative(self, seconds: float) -> str:
        when = "after" if seconds >= 0 else "before"
        return f"{words.duration(abs(seconds))} {when} the impact began"

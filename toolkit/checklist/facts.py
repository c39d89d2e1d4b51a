"""What the journal answers: each fact looks at what was recorded, and says pass, fail, or that it does not know.

Where somebody took a decision in place of a fact
(a plan that was not rehearsed, for a reason), it is excused, not passed.
"""

from collections.abc import Callable, Mapping

from toolkit.checklist.evidence import NOT_KNOWN, Answer, Evidence, said
from toolkit.checklist.prepared import communication_plan, escalation, notified, updates, verification_ready
from toolkit.checks import Finding, Outcome, failed, passed, unknown


def _scope(seen: Evidence) -> Answer:
    entry = seen.latest("assessment.made")
    scope = entry.data.get("scope") if entry else None
    if entry is None or not scope:
        return said(entry, unknown("no assessment that saw the requests is in the journal: 01_assess"))
    requests, rate = scope.get("requests"), scope.get("error_rate")
    told = [f"{requests} requests"] if isinstance(requests, int) else []
    told += [f"{rate:.0%} of them failed"] if told and isinstance(rate, int | float) else []
    return said(entry, passed(": ".join(filter(None, ("assessed", ", ".join(told))))))


def _hypotheses(seen: Evidence) -> Answer:
    entry = seen.latest("assessment.made")
    ranked = entry.data.get("hypotheses") if entry else None
    if entry is None or not ranked:
        return said(entry, unknown("no assessment is in the journal: 01_assess"))
    return said(entry, passed(f"ranked first: {ranked[0].get('cause')} ({ranked[0].get('confidence')})"))


def _decision(seen: Evidence) -> Answer:
    decided = [entry for entry in seen.every("decision.made") if entry.data.get("about") == "rollback"]
    begun = [entry for entry in seen.every("plan.made") if entry.data.get("execute", True)]
    if decided:
        return said(decided[-1], passed(f"{decided[-1].data.get('what')}: {decided[-1].data.get('why')}"))
    if begun:
        return said(begun[-1], passed(f"{begun[-1].actor} had it carried out: {begun[-1].data.get('summary')}"))
    return NOT_KNOWN


def _backup(seen: Evidence) -> Answer:
    entry = seen.latest("backup.made", "backup.failed")
    if entry is None:
        return Answer(unknown("no backup is in the journal: 02_stabilize, or emergency-rollback --backup-only"))
    if entry.kind == "backup.failed":
        return said(entry, failed(f"the latest backup failed: {entry.data.get('error')}"))
    return said(entry, passed(f"{entry.data.get('folder')}, read back whole"))


def _target(seen: Evidence) -> Answer:
    plan = seen.plan
    if plan is None:
        return Answer(unknown("no plan is in the journal: 03_rollback shows one"))
    return said(seen.latest("plan.made"), passed(f"{plan.get('summary')}, on {plan.get('target')}"))


def _credentials(seen: Evidence) -> Answer:
    plan = seen.plan
    server = plan.get("server") if plan else None
    if not isinstance(server, Mapping):
        return Answer(unknown("no plan that reached the database is in the journal"))
    return said(seen.latest("plan.made"), passed(f"the database {server.get('database')} answered the planner"))


def _rehearsal(seen: Evidence) -> Answer:
    plan = seen.plan
    wanted = plan.get("plan") if plan else None
    mine = [e for e in seen.every("rehearsal.made", "rehearsal.skipped") if e.data.get("plan") == wanted]
    if not mine:
        return Answer(unknown("this plan was not tried on a copy"))
    entry = mine[-1]
    if entry.kind == "rehearsal.skipped":
        return Answer(unknown(f"not tried on a copy: {entry.data.get('why')}"), entry.at, entry.actor, entry.seq)
    outcome, why = entry.data.get("outcome"), entry.data.get("why")
    if outcome == Outcome.FAIL:
        return said(entry, failed(f"it failed on the copy: {why}"))
    return said(entry, passed("it was carried out on a copy") if not why else unknown(str(why)))


def _downtime(seen: Evidence) -> Answer:
    plan = seen.plan
    made = [e for e in seen.every("rehearsal.made") if plan and e.data.get("plan") == plan.get("plan")]
    if not made:
        return NOT_KNOWN
    seconds = sum(float(step.get("seconds") or 0) for step in made[-1].data.get("steps", ()))
    return said(made[-1], passed(f"on the copy all steps took {seconds:.1f} s"))


def _loss(seen: Evidence) -> Answer:
    plan = seen.plan
    if plan is None:
        return Answer(unknown("no plan is in the journal: 03_rollback shows one"))
    lost = plan.get("destroys")
    lines = [str(line) for line in lost] if isinstance(lost, list | tuple) else []
    told = (
        f"the plan names what is lost to the live schema: {'; '.join(lines)}" if lines else "the plan destroys nothing"
    )
    return said(seen.latest("plan.made"), passed(told))


def _undo(seen: Evidence) -> Answer:
    plan = seen.plan
    steps = plan.get("steps") if plan else None
    if not isinstance(steps, list | tuple) or not steps:
        return Answer(unknown("no plan is in the journal: 03_rollback shows one"))
    without = [str(step.get("id")) for step in steps if not step.get("undo")]
    if without:
        return said(seen.latest("plan.made"), failed(f"nothing says how {', '.join(without)} is undone"))
    return said(
        seen.latest("plan.made"), passed(f"each of {len(steps)} steps says how it is undone; --abort gives it up")
    )


def _monitor(seen: Evidence) -> Answer:
    entry = seen.latest("monitor.started", "monitor.ended")
    if entry is None:
        return Answer(unknown("no monitor writes to this journal"))
    if entry.kind == "monitor.ended":
        return said(entry, unknown("the monitor has ended"))
    return said(entry, passed("the monitor watches"))


def _begun(seen: Evidence) -> Answer:
    entry = seen.latest("step.begun")
    return said(entry, passed(f"step {entry.data.get('step')} was begun")) if entry else NOT_KNOWN


def _monitored(seen: Evidence) -> Answer:
    """The monitor was there from the first step to the last."""
    begun, started = seen.every("step.begun"), seen.latest("monitor.started")
    if not begun or started is None or started.at > begun[0].at:
        return NOT_KNOWN
    ended = seen.latest("monitor.ended")
    last = seen.latest("step.done", "step.failed", "step.begun") or begun[-1]
    if ended is not None and started.at < ended.at < last.at:
        return said(ended, failed("the monitor ended while the rollback ran"))
    return said(last, passed("the monitor watched from the first step to the last"))


def _errors(seen: Evidence) -> Answer:
    begun = seen.latest("step.begun")
    if begun is None:
        return NOT_KNOWN
    count = len(seen.every("step.failed", "notebook.failed", "plan.interrupted"))
    return said(begun, passed(f"{count} in the journal, each with the state that it left" if count else "none was met"))


def _decisions(seen: Evidence) -> Answer:
    made = [*seen.every("decision.made"), *(e for e in seen.every("plan.made") if e.data.get("execute", True))]
    if not made:
        return NOT_KNOWN
    made.sort(key=lambda entry: entry.seq)
    return said(made[-1], passed(f"{len(made)} in the journal, with time, reason and who took them"))


def _assessed_again(seen: Evidence) -> Answer:
    begun, latest = seen.latest("step.begun"), seen.latest("assessment.made", "recovery.checked")
    if begun is None or latest is None:
        return NOT_KNOWN
    first = seen.every("step.begun")[0]
    if latest.at < first.at:
        return Answer(unknown("not looked at again since the rollback began"))
    return said(latest, passed("looked at again after the rollback began"))


def _steps(seen: Evidence) -> Answer:
    done, last = seen.every("step.done", "step.skipped"), seen.latest("step.done", "step.failed", "step.skipped")
    if last is None:
        return NOT_KNOWN
    if last.kind == "step.failed":
        return said(last, failed(f"step {last.data.get('step')} failed, and none came after it"))
    return said(last, passed(f"{len(done)} steps, each seen to be done before the next"))


def _recorded(seen: Evidence) -> Answer:
    entry = seen.latest("plan.done", "plan.aborted")
    if entry is None:
        return NOT_KNOWN
    return said(
        entry, passed(f"{len(seen.every('step.done', 'step.skipped', 'step.undone'))} steps are in the journal")
    )


def _verified(seen: Evidence) -> Answer:
    entry = seen.latest("verification.made")
    if entry is None:
        return Answer(unknown("nothing was verified yet: 04_verify"))
    told, outcome = entry.data.get("tally", {}), str(entry.data.get("outcome"))
    evidence = f"{told.get('pass')} checks passed, {told.get('fail')} failed, {told.get('unknown')} unknown"
    return said(entry, Finding(Outcome(outcome), evidence))


def _signals(seen: Evidence) -> Answer:
    raised = {}
    for entry in seen.every("signal.raised", "signal.cleared"):
        raised[entry.data.get("signal")] = entry
    if not raised:
        return NOT_KNOWN
    still = [str(name) for name, entry in raised.items() if entry.kind == "signal.raised"]
    latest = max(raised.values(), key=lambda entry: entry.seq)
    if still:
        return said(latest, failed(f"still raised: {', '.join(still)}"))
    return said(latest, passed(f"all {len(raised)} signals are cleared"))


def _detection(seen: Evidence) -> Answer:
    entry = next(iter(seen.every("incident.opened")), None)
    if entry is None:
        return NOT_KNOWN
    reasons = "; ".join(map(str, entry.data.get("reasons", ())))
    return said(entry, passed(f"opened by {entry.actor}: {reasons}"))


def _document(seen: Evidence) -> Answer:
    if not seen.documented and not (seen.folder / "postmortem.md").exists():
        return Answer(unknown("no post-mortem is written yet: 05_postmortem"))
    return Answer(passed("postmortem.md holds it, each event with its evidence"))


def _artifacts(seen: Evidence) -> Answer:
    if not seen.entries:
        return NOT_KNOWN
    return Answer(
        passed(f"{len(seen.entries)} entries in {seen.folder.name}; toolkit journal verify proves them whole")
    )


FACTS: Mapping[str, Callable[[Evidence], Answer]] = {
    "scope": _scope,
    "hypotheses": _hypotheses,
    "decision": _decision,
    "backup": _backup,
    "target": _target,
    "credentials": _credentials,
    "rehearsal": _rehearsal,
    "downtime": _downtime,
    "loss": _loss,
    "undo": _undo,
    "escalation": escalation,
    "communication_plan": communication_plan,
    "verification_ready": verification_ready,
    "notified": notified,
    "updates": updates,
    "monitor": _monitor,
    "begun": _begun,
    "monitored": _monitored,
    "errors": _errors,
    "decisions": _decisions,
    "assessed_again": _assessed_again,
    "steps": _steps,
    "recorded": _recorded,
    "verified": _verified,
    "signals": _signals,
    "detection": _detection,
    "document": _document,
    "artifacts": _artifacts,
}

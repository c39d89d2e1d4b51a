"""One sentence for each kind of journal entry, and which kind of event it is: detection, diagnosis, repair, key moment.

The four kinds are those of Jeli's Howie guide. Sentences repeat what the entry holds and nothing else; roles stand
where names could. A kind that is not known here is told by its name, so that nothing disappears from a timeline unseen.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

from toolkit.analysis import fields, words
from toolkit.analysis.discretion import discreet
from toolkit.analysis.fields import Data, text
from toolkit.journal import Entry
from toolkit.on_call import REAL_MINUTE_S


class EventKind(StrEnum):
    DETECTION = "detection"
    DIAGNOSIS = "diagnosis"
    REPAIR = "repair"
    KEY_MOMENT = "key moment"


PROGRAMS = {"monitor", "runner", "facilitator", "journal", "service", "platform", "traffic"}
RESPONDER = "responder"
UNTOLD = {
    "monitor.observed",
    "monitor.recovered",
    "monitor.ended",
    "notebook.started",
    "notebook.finished",
    "step.begun",
    "backup.begun",
    "plan.done",
    "update.drafted",
    "update.sending",
    "update.waiting",
    "update.due",
    "update.withdrawn",
    "channel.opening",
}

Teller = Callable[[Data], str]


def role(actor: str) -> str:
    """Programs by their name; whoever works on the incident is a responder, without a name."""
    return actor if actor in PROGRAMS else RESPONDER


def tell(entry: Entry) -> tuple[EventKind, str] | None:
    """The kind and the sentence; None for entries that a timeline for people leaves out."""
    if entry.kind in UNTOLD:
        return None
    kind, teller = _TELLERS.get(entry.kind, (EventKind.KEY_MOMENT, _unknown(entry.kind)))
    return kind, words.sentence(discreet(teller(entry.data)))


def _unknown(kind: str) -> Teller:
    return lambda _data: f"`{kind}` was recorded"


def _because(data: Data, key: str) -> str:
    said = text(data, key)
    return f": {said}" if said else ""


def _seconds(data: Data) -> str:
    seconds = fields.number(data, "seconds")
    return "" if seconds is None else f" in {words.duration(seconds)}"


def _signal(verb: str) -> Teller:
    def told(data: Data) -> str:
        name = f"`{text(data, 'signal') or 'unnamed'}`"
        value, threshold = text(data, "value"), text(data, "threshold")
        figures = f" at {value}, with a threshold of {threshold}" if value and threshold else ""
        return f"the signal {name} was {verb}{figures}{_because(data, 'evidence')}"

    return told


def _opened(data: Data) -> str:
    severity, reasons = text(data, "severity"), fields.texts(data, "reasons")
    return f"the incident was opened{f' as {severity}' if severity else ''}" + (
        f": {'; '.join(reason.rstrip('.') for reason in reasons)}" if reasons else ""
    )


def _severity(data: Data) -> str:
    reasons = fields.texts(data, "reasons")
    changed = f"the severity changed from {text(data, 'from') or '?'} to {text(data, 'to') or '?'}"
    return f"{changed}: {'; '.join(reasons)}" if reasons else changed


def _became(state: str) -> Teller:
    return lambda data: f"the incident was {state}{_because(data, 'why')}"


def _escalated(data: Data) -> str:
    passed, minute_s = fields.number(data, "after_minutes"), fields.number(data, "minute_s")
    scaled = f", {words.duration(passed * minute_s)} here" if passed and minute_s and minute_s != REAL_MINUTE_S else ""
    after = f" for {passed:g} min{scaled}" if passed else ""
    silent = fields.texts(data, "without_number")
    said = f"nobody had acknowledged{after}: to be called were {words.listed(fields.texts(data, 'roles'))}"
    return said + (f"; the playbook has no number of {words.listed(silent)}" if silent else "")


def _overdue(data: Data) -> str:
    minutes = fields.number(data, "after_minutes")
    within = f" within {minutes:g} min" if minutes is not None else ""
    return f"nobody had answered {text(data, 'severity') or 'it'}{within}, as the playbook wants"


def _role_taken(data: Data) -> str:
    """Without a name, which may stand where a role should."""
    taken = {"lead": "incident lead"}.get(name := text(data, "role") or "?", name)
    return f"the role of {taken} was {'handed over' if text(data, 'before') else 'taken'}"


def _assessed(data: Data) -> str:
    summary = text(data, "summary")
    return f"the assessment was made{f': {summary}' if summary else ''}"


def _decided(data: Data) -> str:
    why = text(data, "why")
    decided = f"it was decided: {(text(data, 'what') or 'not said what').rstrip('.')}"
    return f"{decided}. Reason: {why}" if why else decided


def _backed_up(data: Data) -> str:
    rows = fields.within(data, "tables").values()
    held = sum(int(count) for count in rows if isinstance(count, int))
    size = fields.whole(data, "bytes")
    return f"a backup was made{_seconds(data)}" + (f": {words.size(size)}, {held:,} rows" if size is not None else "")


def _planned(data: Data) -> str:
    steps = len(fields.objects(data, "steps"))
    said = text(data, "summary") or f"{text(data, 'kind') or 'unnamed'} rollback"
    verb = "shown as a dry run" if data.get("execute") is False else "made"
    return f"a plan of {words.plural(steps, 'step')} was {verb}: {said}"


def _step(verb: str, *reasons: str) -> Teller:
    def told(data: Data) -> str:
        what = text(data, "what") or text(data, "step") or "unnamed"
        why = next((said for key in reasons if (said := text(data, key))), None)
        return f"step {verb}{_seconds(data)}: {what.rstrip('.')}" + (f" ({why.rstrip('.')})" if why else "")

    return told


def _checked(what: str) -> Teller:
    return lambda data: f"{what} ended with the outcome {text(data, 'outcome') or 'unknown'}{_counted(data)}"


def _counted(data: Data) -> str:
    tally = fields.within(data, "tally")
    counted = ", ".join(
        f"{count} {word}"
        for key, word in (("pass", "passed"), ("fail", "failed"), ("unknown", "unknown"))
        if (count := fields.whole(tally, key)) is not None
    )
    return f": {counted}" if counted else ""


def _steady(data: Data) -> str:
    rate, p95 = fields.number(data, "error_rate"), fields.number(data, "p95_ms")
    return f"the steady state was measured: error rate {words.share(rate)}, p95 {words.milliseconds(p95)}"


def _failed_notebook(data: Data) -> str:
    return f"the notebook {text(data, 'notebook') or '?'} stopped{_because(data, 'error')}"


def _conflicts(data: Data) -> str:
    found = data.get("conflicts")
    listed = "; ".join(
        f"{fields.whole(each, 'count')} of {text(each, 'table') or '?'} ({text(each, 'reason') or '?'})"
        for each in (found if isinstance(found, list) else [])
        if isinstance(each, Mapping)
    )
    return f"the merge could not decide {fields.whole(data, 'count')} rows: {listed}"


def _stable(data: Data) -> str:
    version, deployment = text(data, "version") or "?", text(data, "deployment") or "?"
    return f"schema version {version} with deployment {deployment} was recorded as stable"


def _fault(words_before: str) -> Teller:
    def told(data: Data) -> str:
        further = f", on top of what was broken: `{text(data, 'scenario')}`" if fields.whole(data, "on_top") else ""
        return f"{words_before}{further}: {_faults(data)}"

    return told


def _hint(data: Data) -> str:
    cost = fields.number(data, "cost_s") or 0
    return f"hint {text(data, 'number') or '?'} was given, at a cost of {cost:g} s{_because(data, 'text')}"


def _game_day(data: Data) -> str:
    hidden = ", hidden" if data.get("hidden") else ""
    further = fields.texts(data, "injects")
    on_top = f", {words.listed(further)} on top of it" if further else ""
    after = fields.number(data, "breaks_after_s")
    moment = f"; it was to break after {words.duration(after)}{on_top}" if after is not None else ""
    return f"a game day was started, {text(data, 'difficulty') or '?'}{hidden}{moment}"


def _faults(data: Data) -> str:
    put_in = data.get("faults")
    told = put_in if isinstance(put_in, list) else [data.get("fault") or data]
    return "; ".join(fields.plain(dict(each)) for each in told)


def _hypothesis(data: Data) -> str:
    found = "held" if data.get("holds") else "did not hold"
    return f"the steady-state hypothesis {found} {text(data, 'when') or '?'} the fault"


def _done(data: Data) -> str:
    return "; ".join(text(each, "what") or "?" for each in fields.objects(data, "done"))


def _accounted(data: Data) -> str:
    named = ("acknowledged", "lost", "duplicated", "unexpected")
    counted = [f"{count:,} {name}" for name in named if (count := fields.count(data, name)) is not None]
    return f"every event was accounted for: {', '.join(counted)}"


def _drill(data: Data) -> str:
    return f"the drill `{text(data, 'scenario') or '?'}` was started with seed {text(data, 'seed') or '?'}"


def _update(became: str) -> Teller:
    return lambda data: f"the text {text(data, 'update') or '?'} {became.format(text(data, 'to') or '?')}"


_DETECTION, _DIAGNOSIS, _REPAIR, _KEY = EventKind

_TELLERS: dict[str, tuple[EventKind, Teller]] = {
    "monitor.started": (_DETECTION, lambda _data: "the monitor began to watch"),
    "signal.raised": (_DETECTION, _signal("raised")),
    "signal.cleared": (_DETECTION, _signal("cleared")),
    "incident.opened": (_KEY, _opened),
    "incident.severity": (_KEY, _severity),
    "incident.acknowledged": (_KEY, _became("acknowledged")),
    "escalation.due": (_KEY, _escalated),
    "response.overdue": (_KEY, _overdue),
    "role.taken": (_KEY, _role_taken),
    "note.added": (_KEY, lambda data: f"noted: {text(data, 'text') or '?'}"),
    "users.reported": (_DETECTION, lambda data: f"users reported: {text(data, 'text') or '?'}"),
    "incident.mitigated": (_KEY, _became("mitigated")),
    "incident.resolved": (_KEY, _became("resolved")),
    "notebook.failed": (_KEY, _failed_notebook),
    "assessment.made": (_DIAGNOSIS, _assessed),
    "decision.made": (_KEY, _decided),
    "checklist.ticked": (_KEY, lambda data: f"ticked: {text(data, 'text') or '?'}"),
    "checklist.unticked": (_KEY, lambda data: f"no longer ticked: {text(data, 'text') or '?'}"),
    "checklist.overridden": (_KEY, lambda data: f"overridden: {text(data, 'text') or '?'}{_because(data, 'reason')}"),
    "backup.made": (_REPAIR, _backed_up),
    "backup.failed": (_REPAIR, lambda data: f"the backup failed{_because(data, 'error')}"),
    "plan.made": (_REPAIR, _planned),
    "step.done": (_REPAIR, _step("done", "outcome")),
    "step.skipped": (_REPAIR, _step("skipped", "why")),
    "step.failed": (_REPAIR, _step("failed", "error")),
    "step.blocked": (_DIAGNOSIS, lambda data: f"a step was blocked: {fields.plain(dict(data))}"),
    "step.again": (_DIAGNOSIS, lambda data: f"a step was tried again: {fields.plain(dict(data))}"),
    "plan.interrupted": (_KEY, lambda data: f"the plan was interrupted{_because(data, 'state')}"),
    "recovery.checked": (_DIAGNOSIS, _checked("a quick look at the recovery")),
    "database.checked": (_DIAGNOSIS, _checked("a look at how the rollback left the database")),
    "conflicts.listed": (_KEY, _conflicts),
    "verification.made": (_DIAGNOSIS, _checked("verification")),
    "steady_state.measured": (_DIAGNOSIS, _steady),
    "update.sent": (_KEY, _update("was sent to {}")),
    "update.copied": (_KEY, _update("was posted by hand for {}")),
    "update.refused": (_KEY, _update("was not sent to {}")),
    "update.unsure": (_KEY, _update("was perhaps sent to {}")),
    "update.settled": (_KEY, _update("was looked for at {}")),
    "update.missed": (_KEY, lambda data: f"no update was made that was due at {text(data, 'due') or '?'}"),
    "ticket.written": (_KEY, lambda data: f"a ticket for {text(data, 'vendor') or 'a vendor'} was written"),
    "channel.opened": (_KEY, lambda data: f"the incident's channel is {text(data, 'name') or text(data, 'id') or '?'}"),
    "stable.recorded": (_KEY, _stable),
    "drill.started": (_KEY, _drill),
    "fault.begun": (_KEY, _fault("the facilitator began to put the fault in")),
    "fault.done": (_KEY, _fault("the fault was in")),
    "traffic.stopped": (_KEY, lambda _data: "the traffic was stopped"),
    "accounting.made": (_KEY, _accounted),
    "fault.undone": (_KEY, lambda data: f"the facilitator undid what nobody had mended: {_done(data)}"),
    "hypothesis.looked": (_DIAGNOSIS, _hypothesis),
    "fault.refused": (_KEY, lambda data: f"a further fault could not be put in{_because(data, 'why')}"),
    "gameday.started": (_KEY, _game_day),
    "gameday.finished": (_KEY, lambda _data: "the game day was finished by whoever played"),
    "gameday.aborted": (_KEY, lambda data: f"the game day was aborted{_because(data, 'why')}"),
    "inject.dropped": (_KEY, lambda data: f"a further fault was dropped{_because(data, 'why')}"),
    "hint.given": (_KEY, _hint),
    "answer.shown": (_KEY, lambda _data: "the answer was looked at"),
    "action.by_hand": (_REPAIR, lambda data: f"put right by hand{_because(data, 'why')}: {_done(data)}"),
    "action.asked": (_REPAIR, lambda data: f"asked to put right by hand{_because(data, 'why')}; nothing was found"),
    "drill.stopped": (_KEY, lambda data: f"the drill was stopped{_because(data, 'why')}"),
    "drill.ended": (_KEY, lambda data: f"the drill ended{_because(data, 'outcome')}"),
}

"""What was found, decided and done about it, as the journals tell it, in types.

It reads entries and repeats them. Where a journal holds none, the answer is None or empty. It judges nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.analysis import fields
from toolkit.analysis.entries import cite, every, first, latest
from toolkit.analysis.execution import (
    Accounting,
    Backup,
    Plan,
    Verification,
    read_accounting,
    read_backup,
    read_plan,
    read_verification,
)
from toolkit.analysis.prediction import Prediction, read_prediction
from toolkit.analysis.references import Reference, References, Source
from toolkit.journal import Entry


@dataclass(frozen=True)
class Opening:
    """Severities as they were first, at worst and at last. `reasons` are those of the worst."""

    first: str
    worst: str
    last: str
    reasons: tuple[str, ...]
    references: References


@dataclass(frozen=True)
class Hypothesis:
    """A possible cause as the assessment ranked it; the first is the best supported."""

    title: str
    confidence: str | None
    supporting: tuple[str, ...]
    against: tuple[str, ...]


@dataclass(frozen=True)
class Assessment:
    summary: str | None
    scope: tuple[tuple[str, str], ...]
    hypotheses: tuple[Hypothesis, ...]
    recommended: str | None
    reasons: tuple[str, ...]
    reservations: tuple[str, ...]
    reference: Reference


@dataclass(frozen=True)
class Decision:
    what: str
    why: str | None
    reference: Reference


@dataclass(frozen=True)
class Drill:
    """That this was a drill, and what was broken on purpose."""

    scenario: str | None
    seed: str | None
    target: str | None
    reference: Reference
    begun: Entry | None
    done: Entry | None


@dataclass(frozen=True)
class Response:
    """Everything above; None where the journals hold none of it."""

    opening: Opening | None
    assessment: Assessment | None
    decisions: tuple[Decision, ...]
    backup: Backup | None
    plan: Plan | None
    prediction: Prediction | None
    verification: Verification | None
    accounting: Accounting | None
    drill: Drill | None
    steady_before: Entry | None
    steady_after: Entry | None


def read_response(journal: Sequence[Entry], facilitator: Sequence[Entry]) -> Response:
    """Read both journals. `facilitator` is empty for a real incident."""
    plan = read_plan(journal)
    return Response(
        opening=_opening(journal),
        assessment=_assessment(latest(journal, "assessment.made")),
        decisions=tuple(_decision(entry) for entry in every(journal, "decision.made")),
        backup=read_backup(latest(journal, "backup.made", "backup.failed")),
        plan=plan,
        prediction=read_prediction(journal, plan),
        verification=read_verification(journal),
        accounting=read_accounting(latest([*journal, *facilitator], "accounting.made"), facilitator),
        drill=_drill(facilitator),
        steady_before=latest(facilitator, "steady_state.measured"),
        steady_after=latest(journal, "steady_state.measured"),
    )


def _opening(journal: Sequence[Entry]) -> Opening | None:
    """None when no incident was opened, or opened without a severity."""
    fields_of = {"incident.opened": "severity", "incident.severity": "to"}
    said = [(fields.text(entry.data, fields_of[entry.kind]), entry) for entry in every(journal, *fields_of)]
    known = [(severity, entry) for severity, entry in said if severity]
    if not known:
        return None
    worst, because = min(known, key=lambda each: each[0])
    references = tuple(cite(entry) for _, entry in known)
    return Opening(known[0][0], worst, known[-1][0], fields.texts(because.data, "reasons"), references)


def _assessment(entry: Entry | None) -> Assessment | None:
    if entry is None:
        return None
    advice = fields.within(entry.data, "recommendation")
    return Assessment(
        summary=fields.text(entry.data, "summary"),
        scope=tuple((key, fields.plain(value)) for key, value in fields.within(entry.data, "scope").items()),
        hypotheses=tuple(_hypothesis(each) for each in fields.objects(entry.data, "hypotheses")),
        recommended=_advice(advice),
        reasons=fields.texts(advice, "reasons"),
        reservations=fields.texts(advice, "against"),
        reference=cite(entry),
    )


def _hypothesis(said: fields.Data) -> Hypothesis:
    subject = fields.text(said, "subject")
    cause = fields.text(said, "cause") or "cause not named"
    title = fields.text(said, "title") or (f"{cause} {subject}" if subject else cause)
    return Hypothesis(
        title, fields.text(said, "confidence"), fields.texts(said, "supporting"), fields.texts(said, "against")
    )


def _advice(advice: fields.Data) -> str | None:
    kind = fields.text(advice, "kind")
    if kind is None:
        return None
    if kind == "none":
        return "no rollback"
    target, deployment = fields.text(advice, "migration_target"), fields.text(advice, "deployment")
    parts = [f"to schema version {target}" if target else "", f"to deployment {deployment}" if deployment else ""]
    return " ".join([f"{kind} rollback", " and ".join(part for part in parts if part)]).strip()


def _decision(entry: Entry) -> Decision:
    what = fields.text(entry.data, "what") or "not said what"
    return Decision(what, fields.text(entry.data, "why"), cite(entry))


def _drill(facilitator: Sequence[Entry]) -> Drill | None:
    started = first(facilitator, "drill.started")
    if not facilitator:
        return None
    data, entry = (started.data, started) if started else ({}, facilitator[0])
    return Drill(
        scenario=fields.text(data, "scenario"),
        seed=fields.text(data, "seed"),
        target=fields.text(data, "target"),
        reference=cite(entry, Source.FACILITATOR),
        begun=first(facilitator, "fault.begun"),
        done=first(facilitator, "fault.done"),
    )

"""The decision that an assessment leads to: what, why, by whom; journaled, whether it follows the advice or not."""

from toolkit.analysis import fields
from toolkit.assess.options import KINDS
from toolkit.errors import UsageError
from toolkit.incident import Incident
from toolkit.journal import Entry

ABOUT = "rollback"


def decide(incident: Incident, kind: str, *, reason: str, by: str, target: str = "") -> Entry:
    """Journal it. `kind` is an option's; `target` a version, a deployment or a backup, '' as recommended. The
    deployment with which one fixes forward is the one that a verification expects from then on.

    UsageError for a kind that there is not, without a reason, and before anything was assessed.
    """
    if kind not in KINDS:
        raise UsageError(
            f"{kind!r} is none of the options", state="nothing was journaled", next=f"use {', '.join(KINDS)}"
        )
    if not reason.strip() or not by.strip():
        missing = "Why was it decided" if not reason.strip() else "Who decided it"
        raise UsageError(f"{missing}?", state="nothing was journaled", next="say it: a post-mortem will ask")
    advice = recommended(incident)
    if advice is None:
        raise UsageError("Nothing was assessed in this incident", state="nothing was journaled", next="toolkit assess")
    told = {
        "about": ABOUT,
        "what": f"{kind.replace('-', ' ')}{_rollback(kind)}{f' to {target}' if target else ''}",
        "kind": kind,
        "to": target,
        "why": reason.strip(),
        "by": by,
        "recommended": advice,
        "follows": kind == advice,
    }
    return incident.record("decision.made", told, actor=by)


def decided(incident: Incident) -> Entry | None:
    """The latest decision after the latest assessment; None where it is still open."""
    entries = incident.journal.entries()
    for entry in reversed(entries):
        if entry.kind == "assessment.made":
            return None
        if entry.kind == "decision.made" and entry.data.get("about") == ABOUT:
            return entry
    return None


def recommended(incident: Incident) -> str | None:
    """The option that the latest assessment recommends; None before there is one."""
    entry = incident.latest("assessment.made")
    if entry is None:
        return None
    marked = [each for each in fields.objects(entry.data, "options") if each.get("recommended")]
    return fields.text(marked[0], "kind") if marked else None


def _rollback(kind: str) -> str:
    return " rollback" if kind in ("migration", "application", "emergency") else ""


def said(incident: Incident, kind: str, *, reason: str, by: str) -> str:
    """Where the decision stands, as Markdown for a notebook; a `kind` is journaled first. Raises as `decide`."""
    if kind:
        decide(incident, kind, reason=reason, by=by)
    entry, advice = decided(incident), recommended(incident)
    if entry is None:
        return f"**Nobody has decided yet.** Recommended: {(advice or 'nothing').replace('-', ' ')}."
    data = entry.data
    against = "as recommended" if data["follows"] else f"though {data['recommended']} is recommended"
    return f"**Decided: {data['what']}**, {against}, by {data['by']} at {entry.at:%H:%M:%S} UTC: {data['why']}"

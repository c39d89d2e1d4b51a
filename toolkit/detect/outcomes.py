"""What the journal tells of our own doing: was the last rollback carried out, did the last verification pass? Pure."""

from collections.abc import Sequence

from toolkit.detect.seen import Outcomes
from toolkit.journal import Entry

WENT_ON = ("step.begun", "plan.done")


def outcomes_in(entries: Sequence[Entry]) -> Outcomes:
    """Of the newest of each; one that is under way again has not failed."""
    return Outcomes(rollback=_rollback(entries), validation=_validation(entries))


def _rollback(entries: Sequence[Entry]) -> str | None:
    for entry in reversed(entries):
        match entry.kind:
            case "plan.interrupted":
                return f"the rollback was interrupted: {entry.data.get('state') or 'not told how it stands'}"
            case "plan.aborted":
                return "" if entry.data.get("whole") is not False else "the rollback was given up half-way"
            case kind if kind in WENT_ON:
                return ""
    return None


def _validation(entries: Sequence[Entry]) -> str | None:
    made = next((entry for entry in reversed(entries) if entry.kind == "verification.made"), None)
    if made is None or made.data.get("outcome") not in ("pass", "fail"):
        return None
    if made.data["outcome"] == "pass":
        return ""
    checks = made.data.get("checks")
    failed = [str(each.get("name")) for each in checks or () if each.get("outcome") == "fail"]
    return f"{len(failed)} checks of the last verification failed: {', '.join(failed[:3])}"

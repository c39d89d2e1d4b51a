"""What a rollback is doing just now and how much longer it may take, for whoever asks how it stands.

Read off its journal, where that lies on this machine: how far the step is, and what the rehearsal took for those after
it. It promises nothing: what nobody measured is left out.
"""

import socket
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.incident import Incident
from toolkit.progress import PROGRESS
from toolkit.rollback.begun import INTERRUPTED, STEP_BEGUN, STEP_DONE, STEP_FAILED, latest_progress
from toolkit.rollback.kept_plan import KeptPlan
from toolkit.rollback.plan import Plan
from toolkit.rollback.rehearsed import rehearsal_of

ENDS = (STEP_DONE, STEP_FAILED, INTERRUPTED)


@dataclass(frozen=True)
class UnderWay:
    """A step that runs. `what` is done of it just now, as told `at` (UTC); `share` is from 0 to 1, `left_s` the seconds
    that are left of that; `later_s` what the steps after it took on the copy. None: unknown."""

    step: str
    since: datetime
    what: str = ""
    at: datetime | None = None
    share: float | None = None
    left_s: float | None = None
    later_s: float | None = None

    def __str__(self) -> str:
        said = f"step {self.step} runs since {self.since:%H:%M:%S} UTC"
        if self.at is not None:
            said += f"; at {self.at:%H:%M:%S} UTC: {self.what}"
            said += "" if self.share is None else f", {self.share:.0%} done"
            said += "" if self.left_s is None else f", about {self.left_s:.0f} s left"
        return said + (f"; the steps after it took {self.later_s:.0f} s on the copy" if self.later_s else "")


def under_way(incident: Incident, plan: Plan) -> UnderWay | None:
    """What of the plan runs; None where nothing does. Raises JournalError."""
    made = latest_progress(incident.journal.entries())
    if made is None or made.plan != plan.id:
        return None
    places = [place for place, entry in enumerate(made.since) if entry.kind == STEP_BEGUN]
    since = made.since[places[-1] :] if places else ()
    if not since or any(entry.kind in ENDS for entry in since):
        return None
    step, told = str(since[0].data["step"]), [entry for entry in since if entry.kind == PROGRESS]
    later = _later_s(incident, plan, step)
    if not told:
        return UnderWay(step, since[0].at, later_s=later)
    data = told[-1].data
    share = data["done"] / data["of"] if data["of"] else None
    return UnderWay(step, since[0].at, str(data["what"]), told[-1].at, share, data["left_s"], later)


def seen_from_here(kept: KeptPlan) -> UnderWay | None:
    """The same of a plan that the target keeps; None where its journal lies elsewhere, or cannot be read."""
    if not kept.folder or kept.host != socket.gethostname():
        return None
    try:
        return under_way(Incident.at(Path(kept.folder)), kept.plan)
    except ToolkitError:
        return None


def _later_s(incident: Incident, plan: Plan, step: str) -> float | None:
    rehearsed = rehearsal_of(incident, plan)
    if rehearsed is None:
        return None
    ids = [each.id for each in plan.steps]
    return sum(rehearsed.seconds.get(each, 0.0) for each in ids[ids.index(step) + 1 :]) if step in ids else None

"""What whoever plays does next, by the incident's journal alone: a list to follow, with the notebook for each step."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.checks import Outcome
from toolkit.incident import State, state_in
from toolkit.journal import Entry


@dataclass(frozen=True)
class Step:
    """`notebook` is '' where a command or a look does it. `done`: the journal tells of it."""

    what: str
    notebook: str
    done: bool


def steps(entries: Sequence[Entry], *, ended: bool) -> list[Step]:
    """All of them, in order. `entries` are the incident's; `ended`: the score is written."""
    state, kinds = state_in(entries), {entry.kind for entry in entries}
    verified = any(e.kind == "verification.made" and e.data.get("outcome") == Outcome.PASS for e in entries)
    helped = state in (State.MITIGATED, State.RESOLVED)
    return [
        Step("Watch, until an incident is open", "", state is not None),
        Step("Acknowledge and assess it", "01_assess", "assessment.made" in kinds),
        Step("Decide, and say why (`decision` and `reason` there)", "01_assess", "decision.made" in kinds),
        Step("Stabilize: a backup (`execute = True`)", "02_stabilize", "backup.made" in kinds),
        Step("Roll back: read the plan, then `execute = True`", "03_rollback", helped),
        Step("Verify all of it", "04_verify", verified and state is State.RESOLVED),
        Step("Finish, and read the score", "", ended),
    ]

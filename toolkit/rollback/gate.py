"""The gate before what destroys: the checklist's blocking items are answered, or somebody says why not.

Asked before a plan that changes the database is begun, and again before each step that destroys, because such a plan
may answer an item on its way: a full emergency makes its own backup.
"""

import shlex
from collections.abc import Collection

from toolkit.checklist import load_checklists, open_blocking, override
from toolkit.checklist.standing import Standing, evidence_of
from toolkit.errors import RollbackError
from toolkit.incident import Incident
from toolkit.playbook import Playbook
from toolkit.rollback.plan import Mend, MigrateUp, Plan, RecoverByPlatform, RunDown, SwapIn

MADE_ON_THE_WAY = ("backup", "rehearsal")
DESTRUCTIVE = (RunDown, Mend, MigrateUp, SwapIn, RecoverByPlatform)


def open_items(incident: Incident, playbook: Playbook, plan: Plan, but: Collection[str] = ()) -> list[Standing]:
    """The blocking items that this plan would wait for now. `but`: facts that the plan answers on its way."""
    seen = evidence_of(incident, playbook, plan.to_json())
    return [each for each in open_blocking(load_checklists(playbook), seen) if each.item.fact not in but]


def would_wait_for(incident: Incident, playbook: Playbook, plan: Plan) -> list[Standing]:
    """The same as it stands before anything was made: what carrying it out makes itself is not waited for."""
    return open_items(incident, playbook, plan, MADE_ON_THE_WAY) if plan.changes_database else []


def require_items(
    incident: Incident, playbook: Playbook, plan: Plan, reason: str, *, actor: str, but: Collection[str] = ()
) -> None:
    """RollbackError while blocking items are open. With a `reason` each is journaled as overridden by the actor."""
    if not (waiting := open_items(incident, playbook, plan, but)):
        return
    if not reason:
        raise refusal(waiting, incident, plan)
    lists = load_checklists(playbook)
    for each in waiting:
        override(incident, lists, each.item.id, by=actor, reason=reason, plan=plan.id)


def refusal(waiting: list[Standing], incident: Incident, plan: Plan) -> RollbackError:
    """What is open, and how it is answered."""
    items = "; ".join(
        f"{each.item.id} ({each.item.text}{f': {each.evidence}' if each.evidence else ''})" for each in waiting
    )
    named = f"--incident {shlex.quote(str(incident.folder.resolve()))}"
    count = f"{len(waiting)} blocking items are" if len(waiting) > 1 else "A blocking item is"
    return RollbackError(
        f"{count} open in the checklist: {items}",
        target=plan.target,
        state="nothing was done",
        next=f"answer it: toolkit checklist tick {waiting[0].item.id} --by NAME {named}, then go on with "
        f"{named}; or say why not: emergency-rollback … --override REASON",
    )

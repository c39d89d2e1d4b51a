"""A plan carried out with its rehearsal where it belongs, the same from a terminal, a notebook and a drill.

Most plans are rehearsed before on the backup that was just made. A full emergency stops writes before all else: it is
rehearsed on the way, on the backup that it makes itself while nothing is written.
"""

from collections.abc import Callable
from dataclasses import replace

from toolkit.adapters.systems import Systems
from toolkit.incident import Incident
from toolkit.rollback.plan import Plan
from toolkit.rollback.rehearsal import BUDGET_S, Rehearsal, rehearse, rehearses_on_the_way
from toolkit.rollback.runner import AS_USUAL, Manner, RunResult, carry_out

GONE_ON_WITH = "it goes on where it died"


def run_rehearsed(
    plan: Plan,
    systems: Systems,
    incident: Incident,
    *,
    actor: str,
    execute: bool = False,
    confirm: str | None = None,
    no_rehearsal: str = "",
    resumed: bool = False,
    manner: Manner = AS_USUAL,
    budget_s: float = BUDGET_S,
    listen: Callable[[Rehearsal], object] | None = None,
) -> RunResult:
    """As `carry_out`, and raises as it and as `rehearse` do. `listen` hears of a rehearsal that is made on the way.

    What is `resumed` was rehearsed before it was begun, perhaps on another machine, unless it rehearses on the way.
    """
    on_the_way = rehearses_on_the_way(plan)

    def rehearse_now() -> None:
        made = rehearse(plan, systems, incident, actor=actor, budget_s=budget_s, advance=manner.advance)
        if listen is not None:
            listen(made)

    return carry_out(
        plan,
        systems,
        incident,
        actor=actor,
        execute=execute,
        confirm=confirm,
        no_rehearsal=no_rehearsal or (GONE_ON_WITH if resumed and not on_the_way else ""),
        resumed=resumed,
        manner=replace(manner, rehearse=rehearse_now) if on_the_way else manner,
    )

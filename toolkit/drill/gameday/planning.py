"""What happens in a game day and when: drawn from the seed, before anything starts. The same seed draws the same.

It starts nothing. A plan holds the answer; it is kept in the game day's private folder and shown to nobody.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from toolkit.clock import utc_now
from toolkit.drill.gameday.combining import on_top
from toolkit.drill.gameday.levels import Difficulty, level, never_drawn, pool
from toolkit.drill.scenario import Scenario, load_scenario
from toolkit.drill.state import check_seed
from toolkit.errors import UsageError
from toolkit.places import DEFAULT_SANDBOX

LONGEST_S = 3600.0
MOST_INJECTS = 3


class Inject(BaseModel):
    """A further fault, `after_s` seconds after the one before it."""

    model_config = ConfigDict(frozen=True)

    scenario: str
    after_s: float


class Wish(BaseModel):
    """What was asked for. '' and None: as the difficulty has it. `within_s` are seconds after the steady state."""

    model_config = ConfigDict(frozen=True)

    difficulty: Difficulty = Difficulty.MEDIUM
    scenario: str = ""
    hidden: bool | None = None
    injects: int | None = None
    within_s: tuple[float, float] | None = None
    seed: int
    sandbox: str = DEFAULT_SANDBOX


class Plan(BaseModel):
    """One game day. `breaks_after_s`: seconds from the steady state until it breaks."""

    model_config = ConfigDict(frozen=True)

    scenario: str
    seed: int
    difficulty: Difficulty
    hidden: bool
    breaks_after_s: float
    injects: tuple[Inject, ...]
    folder: Path
    sandbox: str = DEFAULT_SANDBOX

    def told(self) -> dict[str, str]:
        """What the player is told at the start, by what it is; {} where it is hidden."""
        if self.hidden:
            return {}
        scenario = load_scenario(self.scenario)
        return {what: str(getattr(scenario, what)).strip() for what in level(self.difficulty).tells}


def gameday_folder(reports: Path) -> Path:
    """`<reports>/gamedays/<UTC time>`, which does not exist yet, and names neither scenario nor seed."""
    return reports / "gamedays" / f"{utc_now():%Y%m%dT%H%M%SZ}-gameday"


def draw(wish: Wish, folder: Path) -> Plan:
    """Decide all of it. UsageError for a number that is no seed, a span that is none, an unknown scenario, and for more
    injects than there are faults that can come on top; never with the name of one that was drawn.
    """
    check_seed(wish.seed)
    means = level(wish.difficulty)
    injects = means.injects if wish.injects is None else wish.injects
    if not 0 <= injects <= MOST_INJECTS:
        raise _no(f"{injects} injects are not possible", f"use 0 to {MOST_INJECTS}")
    first, last = _span(wish.within_s or means.within_s)
    chance = random.Random(wish.seed)  # noqa: S311 - a draw that can be repeated, no secret
    moment = chance.uniform(first, last)
    chosen = _chosen(wish, injects, chance)
    further = [Inject(scenario=each.name, after_s=chance.uniform(*means.inject_after_s)) for each in chosen[1:]]
    return Plan(
        scenario=chosen[0].name,
        seed=wish.seed,
        difficulty=wish.difficulty,
        hidden=means.hidden if wish.hidden is None else wish.hidden,
        breaks_after_s=round(moment, 3),
        injects=tuple(further),
        folder=folder,
        sandbox=wish.sandbox,
    )


def _span(within_s: tuple[float, float]) -> tuple[float, float]:
    first, last = within_s
    if not 0 <= first <= last <= LONGEST_S:
        raise _no(f"{first:g}-{last:g} is no span of time", f"use MIN-MAX in seconds, from 0 to {LONGEST_S:g}")
    return first, last


def _chosen(wish: Wish, injects: int, chance: random.Random) -> list[Scenario]:
    """The scenario, and what comes on top of it. Of those drawn, the first that admits as much as is wanted."""
    names = [wish.scenario] if wish.scenario else list(pool(wish.difficulty))
    chance.shuffle(names)
    for name in names:
        chosen = [load_scenario(name)]
        if _fill(chosen, injects, level(wish.difficulty).inject_kinds, chance):
            return chosen
    about = wish.scenario or f"anything {wish.difficulty}"
    raise _no(f"There are not {injects} faults that can come on top of {about}", "use fewer --injects")


def _fill(chosen: list[Scenario], injects: int, kinds: Sequence[str], chance: random.Random) -> bool:
    """Add further ones until there are as many as wanted. False where that cannot be."""
    while len(chosen) <= injects:
        if not (possible := [name for name in on_top(chosen, kinds) if name not in never_drawn()]):
            return False
        chosen.append(load_scenario(chance.choice(possible)))
    return True


def _no(what: str, use: str) -> UsageError:
    return UsageError(what, state="nothing was done", next=use)

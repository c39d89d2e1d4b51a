"""What every step knows how to do: see whether it is done, do it, and say the state it left. One class for each action.

A step asks the target whether it was done, never the journal: the journal tells what was intended, and a run may have
died between the effect and its entry.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.adapters.systems import Systems
from toolkit.rollback.blocking import Patience
from toolkit.rollback.plan import Plan

Tell = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Standing:
    """Whether a step is done, and the evidence: what the target says."""

    done: bool
    evidence: str


@dataclass(frozen=True)
class Surroundings:
    """What a step is done with. `tell` journals what happens on the way: a kind and its data."""

    plan: Plan
    systems: Systems
    incident: str
    patience: Patience
    tell: Tell


class Doing(ABC):
    """One action of a plan, against its target."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around

    @abstractmethod
    def require(self) -> None:
        """Whether it can be begun at all, asked before the first step of a plan. Raises ToolkitError."""

    @abstractmethod
    def look(self) -> Standing:
        """Whether it is done. Raises ToolkitError where the target is in a state that the plan does not know."""

    @abstractmethod
    def act(self) -> str:
        """Do it, and say in a sentence what came of it. Raises ToolkitError; `look` then tells how it stands."""

    @abstractmethod
    def state(self) -> str:
        """The state of what it acts on, for an error. Never raises."""

"""What every step knows how to do: see whether it is done, do it, and say the state it left. One class for each action.

A step asks the target whether it was done, never the journal: the journal tells what was intended, and a run may have
died between the effect and its entry.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from toolkit.adapters.postgres import Connection
from toolkit.adapters.systems import Systems
from toolkit.incident import Incident
from toolkit.progress import Advance, Tell, no_advance
from toolkit.rollback.blocking import Patience
from toolkit.rollback.plan import Plan


class Fence(Protocol):
    """Whether we may still act: the lease of this rollback, with its token."""

    def guard(self, conn: Connection) -> None:
        """In a transaction that is about to change something. RollbackError when somebody else has taken over;
        otherwise nobody can take over before this transaction ends."""

    def require(self) -> None:
        """The same in a transaction of its own, for what has none."""


class NoFence:
    """Where there is nobody to keep out: a copy of our own."""

    def guard(self, conn: Connection) -> None:
        pass

    def require(self) -> None:
        pass


NO_FENCE = NoFence()


@dataclass(frozen=True)
class Standing:
    """Whether a step is done, and the evidence: what the target says."""

    done: bool
    evidence: str


@dataclass(frozen=True)
class Surroundings:
    """What a step is done with. `tell` journals what happens on the way: a kind and its data. `advance` tells a person
    how far a long step is. `rehearsal`: the target is a copy of ours, and the platform is not part of it."""

    plan: Plan
    systems: Systems
    incident: Incident
    patience: Patience
    tell: Tell
    fence: Fence = NO_FENCE
    advance: Advance = no_advance
    rehearsal: bool = False
    end_blockers: bool = False  # end the sessions that hold what a step waits for, when its patience is used up


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

    def partly(self) -> bool:
        """Whether it was begun and has left something that `undo` would take away, although it is not done."""
        return False

    def undo(self) -> str | None:
        """Undo it where that loses nothing, and say so in a sentence; None where it cannot be. Raises as `act`."""
        return None

"""How each action of a plan is done: one module for each, all of one form (`Doing`), chosen here and nowhere else."""

from toolkit.errors import RollbackError
from toolkit.rollback.plan import PointProduction, RunDown, Step
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings
from toolkit.rollback.steps.point_production import PointingProduction
from toolkit.rollback.steps.run_down import RunningDown

__all__ = ["Doing", "Standing", "Surroundings", "doing_of"]


def doing_of(step: Step, around: Surroundings) -> Doing:
    """The doing of a step's action."""
    match step.action:
        case RunDown() as down:
            return RunningDown(down, around)
        case PointProduction() as point:
            return PointingProduction(point, around)
        case other:
            raise RollbackError(f"Nobody knows how to do {other.kind!r} yet", state="nothing was done")

"""Pointing production at another deployment, done only when production, asked by its own name, leads there."""

from toolkit.errors import RollbackError, ToolkitError
from toolkit.rollback.plan import PointProduction
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings

SWITCH_WITHIN_S = 90.0


class PointingProduction(Doing):
    """`PointProduction`, carried out."""

    def __init__(self, action: PointProduction, around: Surroundings) -> None:
        super().__init__(around)
        self.action = action

    def require(self) -> None:
        self.look()

    def look(self) -> Standing:
        live = self._live()
        if live not in (self.action.deployment, self.action.instead_of):
            raise RollbackError(
                f"Production points at {live}, neither at {self.action.instead_of} nor at {self.action.deployment}",
                target=self.around.systems.target.name,
                state="this step was not begun",
                next="find out who deployed meanwhile, then plan again",
            )
        return Standing(live == self.action.deployment, f"production points at {live}")

    def act(self) -> str:
        description = f"rollback plan {self.around.plan.id}, incident {self.around.incident.id}"
        switched = self.around.systems.platform.rollback(
            self.action.deployment, description=description, within=SWITCH_WITHIN_S
        )
        automatic = {
            False: "; automatic assignment is off: the next push does not go live",
            True: "",
            None: "; whether automatic assignment is on is not known",
        }[switched.automatic_assignment]
        return f"production points at {switched.id} after {switched.seconds:.1f} s{automatic}"

    def state(self) -> str:
        try:
            return f"production points at {self._live()}"
        except ToolkitError as error:
            return f"where production points is unknown: {error.what}"

    def _live(self) -> str:
        systems = self.around.systems
        return systems.platform.production(systems.production_host).id

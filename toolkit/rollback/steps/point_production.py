"""Pointing production at another deployment: done when production, asked by its own name, leads there, and when what
answers the health endpoint is that deployment.

A rehearsal's copy has no platform: there the step does nothing, and says so.
"""

from toolkit.adapters.service import Health
from toolkit.adapters.vercel import Switched, VercelRefused
from toolkit.clock import wait_until
from toolkit.errors import DeadlineExceeded, RollbackError, ToolkitError, UnverifiedError
from toolkit.rollback.plan import MigrateUp, PointProduction, RestoreBeside, RunDown, SwapIn
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings

SWITCH_WITHIN_S = 90.0
ANSWER_WITHIN_S = 30.0
REHEARSED = "nothing was done: the platform is not part of the copy"
PAYMENT_REQUIRED, FORBIDDEN = 402, 403


class PointingProduction(Doing):
    """`PointProduction`, carried out."""

    def __init__(self, action: PointProduction, around: Surroundings) -> None:
        super().__init__(around)
        self.action = action
        self._rehearsed = False

    def require(self) -> None:
        if not self.around.rehearsal:
            self._pointed()

    def look(self) -> Standing:
        if self.around.rehearsal:
            return Standing(self._rehearsed, REHEARSED)
        live = self._pointed()
        if live != self.action.deployment:
            return Standing(False, f"production points at {live}")
        health = self._health()
        return Standing(self._serves(health), f"production points at {live}, and {self._said(health)}")

    def act(self) -> str:
        if self.around.rehearsal:
            self._rehearsed = True
            return REHEARSED
        description = f"rollback plan {self.around.plan.id}, incident {self.around.incident.id}"
        platform = self.around.systems.platform
        try:
            switched = platform.rollback(self.action.deployment, description=description, within=SWITCH_WITHIN_S)
        except VercelRefused as refused:
            raise self._refused(refused) from refused
        health = self._wait_for_answer()
        took = "already" if switched.already else f"after {switched.seconds:.1f} s"
        return (
            f"production points at {switched.id} {took}, and {self._said(health)}. {_automatic(switched)}. "
            f"The environment and the cron jobs of {switched.id} are back, as they were when it was built. "
            f"To undo it: --abort, or `vercel promote {self.action.instead_of}`"
        )

    def state(self) -> str:
        if self.around.rehearsal:
            return REHEARSED
        try:
            return f"production points at {self._live()}"
        except ToolkitError as error:
            return f"where production points is unknown: {error.what}"

    def partly(self) -> bool:
        """It was switched, and what answers is not well: that is live all the same, and can be taken back."""
        return not self.around.rehearsal and self._live() == self.action.deployment

    def undo(self) -> str | None:
        """Promote what was live before, which turns automatic assignment on again."""
        if self.around.rehearsal:
            return None
        before = self.action.instead_of
        if self._pointed() == before:
            return f"production points at {before}: there was nothing to undo"
        switched = self.around.systems.platform.promote(before, within=SWITCH_WITHIN_S)
        return f"production points at {switched.id} again, after {switched.seconds:.1f} s. {_automatic(switched)}"

    # Inside

    def _live(self) -> str:
        systems = self.around.systems
        return systems.platform.production(systems.production_host).id

    def _pointed(self) -> str:
        """Where production points, which must be one of the two that the plan knows."""
        live = self._live()
        if live not in (self.action.deployment, self.action.instead_of):
            raise RollbackError(
                f"Production points at {live}, neither at {self.action.instead_of} nor at {self.action.deployment}",
                target=self.around.systems.target.name,
                state="this step was not begun",
                next="find out who deployed meanwhile, then plan again",
            )
        return live

    def _health(self) -> Health:
        systems = self.around.systems
        return systems.service.probe(systems.playbook.endpoints.health)

    def _wait_for_answer(self) -> Health:
        """The health endpoint's answer once it is the deployment's. UnverifiedError when it does not come to that."""
        seen: list[Health] = []

        def answered() -> bool:
            seen.append(self._health())
            return self._serves(seen[-1])

        try:
            wait_until(answered, within=ANSWER_WITHIN_S, what="its answer", every=0.25)
        except DeadlineExceeded:
            raise UnverifiedError(
                f"Production points at {self.action.deployment}, but {self._said(seen[-1])}",
                target=self.around.systems.target.name,
                state=f"production points at {self.action.deployment}",
                next=f"look at its logs; then go on with --resume, or back with `vercel promote "
                f"{self.action.instead_of}`",
            ) from None
        return seen[-1]

    def _serves(self, health: Health) -> bool:
        """Whether the wanted deployment answers. That it is well is asked once the database is as it should."""
        if health.status_code is None or health.deployment not in (None, self.action.deployment):
            return False
        return self._database_follows() or (200 <= health.status_code < 300 and health.status in (None, "healthy"))

    def _database_follows(self) -> bool:
        actions = [step.action for step in self.around.plan.steps]
        later = actions[actions.index(self.action) + 1 :] if self.action in actions else []
        return any(isinstance(each, RunDown | MigrateUp | RestoreBeside | SwapIn) for each in later)

    def _said(self, health: Health) -> str:
        if health.status_code is None:
            return f"{health.path} gives no answer ({health.error})"
        who = f" from {health.deployment}" if health.deployment else ""
        version = f", version {health.body.version}" if health.body and health.body.version else ""
        return f"{health.path} answers {health.status_code}{who}, {health.status or 'without a status'}{version}"

    def _refused(self, refused: VercelRefused) -> ToolkitError:
        """The plan's limits and the token's, in words that tell what to do; everything else as it was said."""
        wanted, before = self.action.deployment, self.action.instead_of
        if refused.status == PAYMENT_REQUIRED:
            what = f"The platform's plan does not allow going back to {wanted}: on Hobby only the production "
            what += "deployment immediately before this one can be rolled back to"
            following = f"choose that one (--app-rollback=previous), promote {wanted} (`vercel promote {wanted}`), "
            following += "or upgrade the plan"
        elif refused.status == FORBIDDEN:
            what = f"The token may not point production elsewhere: {refused.what}"
            following = "use one of a member of the team who may; then run the plan again"
        else:
            return refused
        state = refused.state or f"production points at {before}"
        return RollbackError(what, target=self.around.systems.target.name, state=state, next=following)


def _automatic(switched: Switched) -> str:
    return {
        False: "Automatic assignment is off: the next push does not go live",
        True: "Automatic assignment is on: the next push goes live",
        None: "Whether automatic assignment is on is not known",
    }[switched.automatic_assignment]

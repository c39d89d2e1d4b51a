"""Letting the queue hand out its jobs again, which a swap holds: reminders and whatever else leaves the service.

Until then a job that was brought back, or taken to be waiting, cannot send a second time. Done is what the target says:
the copy is in, and nothing is held.
"""

from toolkit.errors import RollbackError, ToolkitError
from toolkit.rollback.merge import queue_is_held, release_queue, undecided_jobs
from toolkit.rollback.plan import ReleaseEffects
from toolkit.rollback.restore.names import mark_of
from toolkit.rollback.restore.records import read_swap
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings

LOCK_WITHIN_MS = 2_000


class ReleasingEffects(Doing):
    """`ReleaseEffects`, carried out."""

    def __init__(self, action: ReleaseEffects, around: Surroundings) -> None:
        super().__init__(around)
        self.action, self._database = action, around.systems.database
        self._mark = mark_of(around.incident.id, action.source, around.plan.turn)

    def require(self) -> None:
        self._database.require_session()

    def look(self) -> Standing:
        with self._database.reading() as conn:
            swapped = read_swap(conn, self._mark)
            if swapped is None or swapped.state != "done":
                return Standing(False, "the copy was not swapped in, and nothing is held for it")
            if queue_is_held(conn, self.action.queue):
                return Standing(False, f"the jobs of {self.action.queue} are held")
        return Standing(True, f"the jobs of {self.action.queue} are handed out")

    def act(self) -> str:
        with self._database.writing(
            lock_within_ms=LOCK_WITHIN_MS, hang_up_after_s=self.around.patience.hang_up_after_s
        ) as conn:
            self.around.fence.guard(conn)
            undecided = undecided_jobs(conn, self.around.incident.id, self.action.queue)
            if undecided and not self.around.rehearsal:
                raise RollbackError(
                    f"{undecided} jobs were brought back or could not be decided, and may send a second time",
                    target=self._database.target,
                    state=f"the jobs of {self.action.queue} are held; everything else is in place",
                    next="see them by `toolkit restore conflicts`, remove the jobs that must not run, settle them "
                    "there, then go on with --resume",
                )
            jobs = release_queue(conn, self.action.queue)
        self.around.tell("effects.released", {"queue": self.action.queue, "jobs": jobs})
        return f"{jobs:,} waiting jobs of {self.action.queue} have their times back"

    def state(self) -> str:
        try:
            return self.look().evidence
        except ToolkitError as error:
            return f"whether jobs are held is unknown: {error.what}"

"""Recovery by the platform: asked for once, and never again by itself. Done when the target has forgotten a mark.

A recovery goes back behind everything that the target keeps. So a mark is put there first, and the journal says that
the recovery was asked for: where it was asked for and the mark is gone, it is done. A refused one may be asked again.
"""

import time

from toolkit.adapters.supabase import SupabaseClient
from toolkit.errors import DatabaseError, PlatformError, RollbackError, ToolkitError
from toolkit.rollback.lease import prepare_tables
from toolkit.rollback.plan import RecoverByPlatform
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings

WITHIN_S, LOOK_EVERY_S = 6 * 3600.0, 2.0
ASKED, REFUSED = "recovery.asked", "recovery.refused"
REHEARSED = "nothing was done: the platform is not part of the copy"
_MARK = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.recovery_mark (plan text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
"""


def recovery_asked(around: Surroundings) -> bool:
    """Whether this plan has asked the platform for a recovery that was not refused; by the journal."""
    told = [
        entry.kind
        for entry in around.incident.journal.entries()
        if entry.kind in (ASKED, REFUSED) and entry.data.get("plan") == around.plan.id
    ]
    return bool(told) and told[-1] == ASKED


class RecoveringByPlatform(Doing):
    """`RecoverByPlatform`, carried out."""

    def __init__(self, action: RecoverByPlatform, around: Surroundings) -> None:
        super().__init__(around)
        self.action, self._database = action, around.systems.database
        self._rehearsed = False

    def require(self) -> None:
        if not self.around.rehearsal:
            self._platform()

    def look(self) -> Standing:
        if self.around.rehearsal:
            return Standing(self._rehearsed, REHEARSED)
        if not recovery_asked(self.around):
            return Standing(False, "the platform was not asked")
        try:
            marked = self._marked()
        except DatabaseError as error:
            return Standing(False, f"it was asked for, and the database does not answer: {error.what}")
        if marked:
            return Standing(False, "it was asked for, and is not there yet")
        healthy = self._platform().healthy()
        return Standing(healthy, f"the database is that of before; the platform is {'' if healthy else 'not '}healthy")

    def act(self) -> str:
        if self.around.rehearsal:
            self._rehearsed = True
            return REHEARSED
        began = time.monotonic()
        if not recovery_asked(self.around):
            self._ask()
        self._wait(began)
        return (
            f"the platform has put project {self.action.project} back to {self.action.moment:%Y-%m-%d %H:%M:%S} UTC, "
            f"in {time.monotonic() - began:.0f} s"
        )

    def state(self) -> str:
        try:
            return self.look().evidence
        except ToolkitError as error:
            return f"whether the platform has recovered the project is unknown: {error.what}"

    def partly(self) -> bool:
        return recovery_asked(self.around)

    def _ask(self) -> None:
        try:
            with self._database.writing() as conn:
                self.around.fence.guard(conn)
                prepare_tables(conn, _MARK, ("toolkit.recovery_mark",))
                conn.execute(
                    "INSERT INTO toolkit.recovery_mark (plan) VALUES (%(plan)s) ON CONFLICT DO NOTHING",
                    {"plan": self.around.plan.id},
                )
        except DatabaseError:
            if self.around.plan.server is not None:
                raise
        moment = self.action.moment.isoformat()
        self.around.tell(ASKED, {"project": self.action.project, "moment": moment})
        try:
            self._platform().recover_to(self.action.moment)
        except PlatformError as error:
            if error.state == "nothing was done":
                self.around.tell(REFUSED, {"error": error.what})
                raise
            self.around.tell("recovery.unheard", {"error": error.what})  # it may have begun: wait and see

    def _wait(self, began: float) -> None:
        """Until the database is back without the mark, and the platform calls everything healthy."""
        while not (standing := self.look()).done:
            self.around.advance("waiting for the platform's recovery", time.monotonic() - began, None)
            if time.monotonic() - began > WITHIN_S:
                raise RollbackError(
                    f"The platform has not recovered the project in {WITHIN_S / 3600:g} h: {standing.evidence}",
                    target=self.around.systems.target.name,
                    state="it was asked for once, and is not asked for again by itself",
                    next="look at the project's page; then go on (--resume), or plan another (--backup-restore)",
                )
            time.sleep(LOOK_EVERY_S)

    def _marked(self) -> bool:
        with self._database.reading() as conn:
            if conn.execute("SELECT to_regclass('toolkit.recovery_mark')").fetchone() == (None,):
                return False
            row = conn.execute(
                "SELECT EXISTS (SELECT FROM toolkit.recovery_mark WHERE plan = %(plan)s)",
                {"plan": self.around.plan.id},
            ).fetchone()
        return row == (True,)

    def _platform(self) -> SupabaseClient:
        platform = self.around.systems.recovery
        if platform is None or platform.project != self.action.project:
            raise RollbackError(
                f"This target names no project {self.action.project!r} of the platform",
                target=self.around.systems.target.name,
                state="nothing was done",
                next="set supabase_project_env and supabase_token_env in playbook.toml",
            )
        return platform

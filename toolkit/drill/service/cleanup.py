"""The nightly clean-up: events older than 60 days go, a few thousand a call.

It deletes what it believes to be old, and so must not run while a backup is being restored: SCHEDULER_ENABLED turns it
off together with the reminders.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolkit.drill.service.authority import from_cron
from toolkit.drill.service.builds import Build
from toolkit.drill.service.database import EVERY_COMPANY, Database
from toolkit.drill.service.environment import Environment
from toolkit.drill.service.request_log import note_of


class Cleanup:
    """POST /api/cleanup/events."""

    def __init__(self, environment: Environment, database: Database, build: Build) -> None:
        self._environment, self._database, self._build = environment, database, build

    async def run(self, request: Request) -> Response:
        """200 with the number of rows deleted, 401 without the cron's secret."""
        if not from_cron(request, self._environment):
            return JSONResponse({"error": "unauthorized"}, status_code=401)
        if not self._environment.scheduler_enabled:
            note_of(request).message = "the scheduler is switched off"
            return JSONResponse({"enabled": False, "deleted": 0})
        async with self._database.transaction(EVERY_COMPANY) as conn:
            deleted = (await conn.execute(self._build.delete_old_events)).rowcount
        note_of(request).message = f"{deleted} old events deleted"
        return JSONResponse({"enabled": True, "deleted": deleted})

"""The application: which path leads where. It builds every part once and holds no state of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from toolkit.drill.service.builds import Build
from toolkit.drill.service.cases import Cases
from toolkit.drill.service.cleanup import Cleanup
from toolkit.drill.service.dashboard import Dashboard
from toolkit.drill.service.database import Database
from toolkit.drill.service.defects import Defect
from toolkit.drill.service.environment import Environment
from toolkit.drill.service.health import Health
from toolkit.drill.service.notice import Notice
from toolkit.drill.service.questions import BadQuestionError, refuse_bad_question
from toolkit.drill.service.reminders import Reminders
from toolkit.drill.service.request_log import RequestLog
from toolkit.drill.service.statement_log import StatementLog
from toolkit.drill.service.webhooks import Webhooks


def create_app(environment: Environment) -> Starlette:
    """One deployment's application. Raises UsageError for a build that does not exist."""
    build = Build.of(environment.build)
    database = Database(environment.database_url, environment.deployment, _statement_log(environment))
    cases = Cases(environment, database, build)
    notice = Notice(environment.edge_config)
    dashboard, health = Dashboard(database, build, notice), Health(environment, database)
    reminders = Reminders(environment, database)

    @asynccontextmanager
    async def connected(_app: Starlette) -> AsyncIterator[None]:
        await database.open()
        yield
        await notice.close()
        await database.close()

    return Starlette(
        routes=[
            Route("/api/webhooks/whop", Webhooks(environment, database, cases).receive, methods=["POST"]),
            Route("/api/health", health.general),
            Route("/api/health/db", health.db),
            Route("/api/health/webhooks", health.webhooks),
            Route("/api/scheduler/reminders", reminders.run, methods=["POST"]),
            Route("/api/scheduler/reminders", health.scheduler),
            Route("/api/cleanup/events", Cleanup(environment, database, build).run, methods=["POST"]),
            Route("/api/dashboard/kpis", dashboard.kpis),
            Route("/api/dashboard/cases", dashboard.cases),
            Route("/api/cases/export.csv", dashboard.export),
            Route("/api/cases/{id:uuid}/{action}", cases.act, methods=["POST"]),
            Route("/dashboard", dashboard.page),
            Route("/settings", dashboard.settings),
            Route("/", _home),
        ],
        middleware=[Middleware(RequestLog, environment=environment), Middleware(Defect, defect=environment.defect)],
        exception_handlers={BadQuestionError: refuse_bad_question},
        lifespan=connected,
    )


def _statement_log(environment: Environment) -> StatementLog | None:
    if not environment.statement_log:
        return None
    role = str(conninfo_to_dict(environment.database_url).get("user", ""))
    return StatementLog(Path(environment.statement_log), environment.deployment, role)


async def _home(_request: Request) -> Response:
    return RedirectResponse("/dashboard")

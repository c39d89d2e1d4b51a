"""What can go wrong with the service while its database is sound, and by the names of which checks it is found."""

from collections.abc import Callable
from datetime import timedelta

from mutation_cell import World
from one_service import EXPORT, KPIS, PLAYBOOK, PROCESSED, REFUSED, TAKEN
from stub_target import HTML, as_json, healthy

from toolkit.clock import iso, utc_now

ACTIONS = [f"{action.path} works by hand" for action in PLAYBOOK.verification.actions]
NOTIFIED, SCHEDULER = "notifications are sent", "/api/scheduler/reminders"
VARIABLES = "production was built after its variables were set"
LATER = {"id": "env_1", "key": "PROCESSING_ENABLED", "type": "encrypted", "target": ["production"], "updatedAt": 2}


def _answers(path: str, *answer: object) -> Callable[[World], None]:
    return lambda world: world.stub.answers.update({path: answer})  # type: ignore[dict-item]


def _receiver(**wrong: object) -> Callable[[World], None]:
    return lambda world: vars(world.stub.receive).update(wrong)


def _operator(**wrong: object) -> Callable[[World], None]:
    return lambda world: vars(world.stub.act).update(wrong)


def _traffic(**wrong: int) -> Callable[[World], None]:
    return lambda world: vars(world).update(wrong)


def _stale(world: World) -> None:
    world.stub.variables = [LATER]


def _another(world: World) -> None:
    world.stub.production = "dpl_9"


SERVICE: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "a stale environment variable": (_stale, {VARIABLES}),
    "the webhook's secret is a stale one": (
        _receiver(secret="that-of-last-month"),
        {TAKEN, PROCESSED, NOTIFIED, *ACTIONS},
    ),
    "any signature is taken": (_receiver(checks_signature=False), {REFUSED}),
    "an event is acknowledged, and not recorded": (_receiver(rows=0), {TAKEN, PROCESSED}),
    "another deployment serves": (_another, {"production points at the expected deployment"}),
    "a health check fails": (
        _answers("/api/health/db", *as_json({"status": "unhealthy"}, 503)),
        {"/api/health/db is healthy"},
    ),
    "a critical table less by its health check": (
        _answers("/api/health/db", *healthy(tablesCount=2)),
        {"/api/health/db is healthy"},
    ),
    "the dashboard is broken": (_answers("/dashboard", 500, *HTML), {"/dashboard loads"}),
    "a figure is wrong": (
        _answers(KPIS, *as_json({"cases": 9000})),
        {f"cases of {KPIS} agrees with recovery_cases"},
    ),
    "the export is empty": (
        _answers(EXPORT, 200, "text/csv", "id,status\n"),
        {f"the lines of {EXPORT} agrees with recovery_cases"},
    ),
    "a button does nothing": (_operator(changes=False), {*ACTIONS, NOTIFIED}),
    "no notification is recorded": (_operator(records=False), {*ACTIONS, NOTIFIED}),
    "the scheduler is switched off": (
        _answers(SCHEDULER, *healthy(enabled=False, lastRunAt=iso(utc_now() + timedelta(hours=1)))),
        {"the scheduler is healthy"},
    ),
    "the scheduler stands still": (
        _answers(SCHEDULER, *healthy(enabled=True, lastRunAt=iso(utc_now() - timedelta(hours=1)))),
        {"the scheduler runs"},
    ),
    "one request in four fails": (_traffic(failed=10), {"the error rate is as before"}),
    "every tenth request is slow": (_traffic(slow=4), {"the latency is as before"}),
}

"""The scheduler: reminders at T+0, T+2 and T+4 days, each a job in the queue before it is sent.

A call is bounded by BATCH. It books due reminders as jobs, takes the jobs that are ready, and works them off. Jobs are
done together, because that is cheap; when the database refuses them, by halves, until those that it refuses are alone.
They are tried again later, as pg-boss does: a reminder may be late, but neither lost nor sent twice.
"""

import psycopg
from psycopg.types.json import Jsonb
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolkit.drill.service.authority import from_cron
from toolkit.drill.service.database import EVERY_COMPANY, Connection, Database
from toolkit.drill.service.environment import Environment
from toolkit.drill.service.request_log import Failure, Note, note_of

BATCH = 100

# The key makes a reminder one job, however often it is booked. After a merge the first failure may have moved to
# another day and give a second job; working it off changes nothing then, because the case has counted that attempt.
BOOK_DUE = """
WITH due AS (
    SELECT cases.id,
           cases.attempts + 1 AS attempt,
           cases.id || ':' || (cases.attempts + 1) AS key,
           date_trunc('day', cases.first_failure_at AT TIME ZONE 'UTC') AS day
    FROM recovery_cases AS cases
    LEFT JOIN creator_settings AS settings USING (company_id)
    CROSS JOIN LATERAL (SELECT coalesce(settings.reminder_offsets_days, '{0,2,4}')) AS plan (offsets)
    WHERE cases.status = 'open'
      AND cases.attempts < cardinality(plan.offsets)
      AND cases.first_failure_at + make_interval(days => plan.offsets[cases.attempts + 1]) <= now()
      AND (cases.last_nudge_at IS NULL OR cases.last_nudge_at < now() - interval '1 day')
      AND (settings.company_id IS NULL OR settings.enable_push OR settings.enable_dm)
)
INSERT INTO pgboss.job (name, data, singleton_key, singleton_on, retry_limit, retry_delay, retry_backoff, expire_in,
                        policy)
SELECT queue.name, jsonb_build_object('caseId', due.id, 'attempt', due.attempt), due.key, due.day,
       queue.retry_limit, queue.retry_delay, queue.retry_backoff, make_interval(secs => queue.expire_seconds),
       queue.policy
FROM due
JOIN pgboss.queue ON queue.name = 'reminders'
WHERE NOT EXISTS (
    SELECT FROM pgboss.job
    WHERE job.name = 'reminders'
      AND job.singleton_on = due.day
      AND coalesce(job.singleton_key, '') = due.key
      AND job.state <> 'cancelled'
)
LIMIT %(batch)s
ON CONFLICT DO NOTHING
"""

TAKE_READY = """
WITH ready AS (
    SELECT id
    FROM pgboss.job
    WHERE name = 'reminders' AND state < 'active' AND start_after <= now()
    ORDER BY priority DESC, created_on, id
    LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
)
UPDATE pgboss.job
SET state = 'active',
    started_on = now(),
    retry_count = retry_count + (started_on IS NOT NULL)::integer
FROM ready
WHERE job.name = 'reminders' AND job.id = ready.id
RETURNING job.id
"""

WORK_OFF = """
WITH work AS (
    SELECT id, (data->>'caseId')::uuid AS case_id, (data->>'attempt')::integer AS attempt
    FROM pgboss.job
    WHERE name = 'reminders' AND id = ANY (%(jobs)s) AND state = 'active'
),
nudged AS (
    UPDATE recovery_cases AS cases
    SET attempts = work.attempt, last_nudge_at = now()
    FROM work
    WHERE cases.id = work.case_id AND cases.status = 'open' AND cases.attempts = work.attempt - 1
    RETURNING cases.id, cases.company_id, cases.attempts, cases.incentive_days
),
recorded AS (
    INSERT INTO recovery_actions (case_id, type, channel, metadata)
    SELECT nudged.id,
           'nudge',
           CASE WHEN coalesce(settings.enable_push, true) THEN 'push' ELSE 'dm' END,
           jsonb_build_object('attempt', nudged.attempts, 'incentive_days', nudged.incentive_days)
    FROM nudged
    LEFT JOIN creator_settings AS settings USING (company_id)
),
completed AS (
    UPDATE pgboss.job
    SET state = 'completed', completed_on = now()
    FROM work
    WHERE job.name = 'reminders' AND job.id = work.id
)
SELECT count(*) AS nudged FROM nudged
"""

# A job that is active for longer than it may be belonged to a process that has died.
TRY_AGAIN_LATER = """
UPDATE pgboss.job
SET state = CASE WHEN retry_count < retry_limit THEN 'retry' ELSE 'failed' END::pgboss.job_state,
    completed_on = CASE WHEN retry_count < retry_limit THEN NULL ELSE now() END,
    start_after = now() + interval '1 second' * retry_delay * 2 ^ least(16, retry_count + 1) / 2 * (1 + random()),
    output = %(output)s
WHERE name = 'reminders' AND state = 'active' AND (id = ANY (%(jobs)s) OR started_on + expire_in < now())
"""


class Reminders:
    """/api/scheduler/reminders, the cron's side. Its health is told by `health`."""

    def __init__(self, environment: Environment, database: Database) -> None:
        self._environment, self._database = environment, database

    async def run(self, request: Request) -> Response:
        """POST, called every few minutes: 200 with what was done, 401 without the cron's secret, 503 while frozen."""
        if not from_cron(request, self._environment):
            return JSONResponse({"error": "unauthorized"}, status_code=401)
        note = note_of(request)
        if not self._environment.scheduler_enabled:
            note.message = "the scheduler is switched off"
            return JSONResponse({"enabled": False, "booked": 0, "processed": 0, "failed": 0})
        async with self._database.transaction(EVERY_COMPANY) as conn:
            await conn.execute("UPDATE pgboss.version SET cron_on = now()")
            await conn.execute(TRY_AGAIN_LATER, {"jobs": [], "output": Jsonb({"error": "expired"})})
            booked = (await conn.execute(BOOK_DUE, {"batch": BATCH})).rowcount
            jobs = [row["id"] for row in await (await conn.execute(TAKE_READY, {"batch": BATCH})).fetchall()]
        failed = await self._work(jobs, note) if jobs else 0
        note.message = f"{len(jobs) - failed} reminders done, {failed} to be tried again"
        return JSONResponse({"enabled": True, "booked": booked, "processed": len(jobs) - failed, "failed": failed})

    async def _work(self, jobs: list[object], note: Note) -> int:
        """Work the jobs off; how many the database refused."""
        try:
            async with self._database.transaction(EVERY_COMPANY) as conn:
                await conn.execute(WORK_OFF, {"jobs": jobs})
            return 0
        except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
            raise  # not this job's fault: away or frozen; the jobs expire and are taken again
        except psycopg.Error as error:
            if len(jobs) == 1:
                note.failure = Failure.of(error)
                await self._try_again_later(jobs, note.failure)
                return 1
        middle = len(jobs) // 2
        return await self._work(jobs[:middle], note) + await self._work(jobs[middle:], note)

    async def _try_again_later(self, jobs: list[object], failure: Failure) -> None:
        output = {"error": failure.type, "sqlstate": failure.sqlstate, "message": failure.message}
        async with self._database.transaction(EVERY_COMPANY) as conn:
            await conn.execute(TRY_AGAIN_LATER, {"jobs": jobs, "output": Jsonb(output)})


async def scheduler_facts(conn: Connection) -> dict[str, object]:
    """What the scheduler's health says beside its status."""
    row = await (
        await conn.execute(
            """
            SELECT (SELECT max(cron_on) FROM pgboss.version) AS last_run_at,
                   count(*) FILTER (WHERE state < 'active' AND start_after <= now()) AS ready,
                   count(*) FILTER (WHERE state = 'completed' AND completed_on > now() - interval '1 hour') AS completed
            FROM pgboss.job
            WHERE name = 'reminders'
            """
        )
    ).fetchone()
    assert row is not None
    ran = row["last_run_at"]
    return {
        "lastRunAt": ran.isoformat() if ran else None,
        "readyJobs": row["ready"],
        "completedLastHour": row["completed"],
    }

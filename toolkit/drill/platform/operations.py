"""What the platform does: builds deployments, moves production, starts and retires their processes.

The one place where the rules (`state`), the processes and time meet. Production moves once the new deployment answers,
so that no request falls between the two. One that dies at its start goes live all the same: the vendor checks nothing.
"""

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Coroutine, Mapping
from datetime import timedelta

from toolkit.clock import utc_now
from toolkit.drill.database import create_deployment_role, deployment_role
from toolkit.drill.platform.config import PlatformConfig
from toolkit.drill.platform.deployments import Deployment, ReadyState, milliseconds, new_deployment_id, new_host
from toolkit.drill.platform.gate import Gate
from toolkit.drill.platform.logs import LogBook
from toolkit.drill.platform.processes import Fleet, ServiceProcess, StartFailed
from toolkit.drill.platform.refusal import Refused
from toolkit.drill.platform.state import AliasRequest, Identity, Project
from toolkit.errors import DatabaseError
from toolkit.lifeline import Lifeline

TEAM_SLUG = "sandbox"
SECRET_WORDS = ("SECRET", "TOKEN", "PASSWORD", "KEY")


def now_ms() -> int:
    """Now, as the vendor writes times."""
    return milliseconds(utc_now())


class Platform:
    """The project, its processes, its log, and the work under way between them."""

    def __init__(self, config: PlatformConfig, lifeline: Lifeline) -> None:
        self.config = config
        self.project = _project(config)
        self.gate = Gate(config.token, config.team_id, TEAM_SLUG)
        self.logs = LogBook(config.service_log, self.project.identity.aliases[0])
        self.fleet = Fleet(config.argv, lifeline, self.logs.take, start_timeout_s=config.start_timeout_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Lock()
        self.next_defect = ""  # of the code that is built next; its own ever after
        self._defects: dict[str, str] = {}
        self._seed()

    def start(self) -> None:
        """Begin to start production's process, so that the first request does not wait for it."""
        if production := self.project.production:
            self._spawn(self._warm(production))

    async def close(self) -> None:
        """End all work and every process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.fleet.close()
        self.logs.close()

    async def process(self, deployment: Deployment) -> ServiceProcess:
        """The process that answers for this deployment. Raises StartFailed."""
        return await self.fleet.process(deployment)

    # Builds

    def create(self, meta: Mapping[str, str], target: str) -> Deployment:
        """A deployment of the code that `meta.schemaVersion` names. It is built in the background."""
        version = meta.get("schemaVersion", "")
        if version not in map(str, self.config.builds):
            known = ", ".join(map(str, sorted(self.config.builds)))
            raise Refused(400, "bad_request", f"Invalid request: `meta.schemaVersion` should be one of {known}.")
        deployment = self.project.create(int(version), target, meta, now_ms=now_ms())
        self._defects[deployment.id], self.next_defect = self.next_defect, ""
        self._spawn(self._build(deployment))
        return deployment

    def recreate(self, id_or_host: str, meta: Mapping[str, str], target: str | None) -> Deployment:
        """The same code again, with the environment of today."""
        old = self.project.find(id_or_host)
        merged = {**old.meta, "originalDeploymentId": old.id, **meta}
        deployment = self.project.create(old.build, target or old.target, merged, now_ms=now_ms())
        self._defects[deployment.id] = self._defects.get(old.id, "")
        self._spawn(self._build(deployment))
        return deployment

    async def _build(self, deployment: Deployment) -> None:
        await asyncio.sleep(self.config.build_s / 3)
        try:
            url = await asyncio.to_thread(self._database_url, deployment.id, deployment.build)
        except DatabaseError as error:
            sys.stderr.write(f"{deployment.id} was not built: {error}\n")
            self.project.fail_building(deployment.id, "Command exited with 1")
            return
        environment = self.project.environment.snapshot(deployment.target) | url
        environment["DEFECT"] = self._defects.get(deployment.id, "")
        self.project.start_building(deployment.id, environment, now_ms=now_ms())
        await asyncio.sleep(self.config.build_s * 2 / 3)
        built = self.project.finish_building(deployment.id, now_ms=now_ms())
        if self.project.will_assign(built.id):
            async with self._moving:
                await self._warm(built)
                if self.project.will_assign(built.id):
                    self.project.assign(built.id, now_ms=now_ms())
                    self.fleet.retire(self.project.recent)

    # The alias

    def rollback(self, id_or_host: str, description: str | None) -> AliasRequest:
        """Take a wish to roll back; it is carried out in the background. Raises Refused."""
        request = self.project.request_rollback(id_or_host, description, now_ms=now_ms())
        self._spawn(self._move(request))
        return request

    def promote(self, id_or_host: str) -> AliasRequest:
        """Take a wish to promote; it is carried out in the background. Raises Refused."""
        request = self.project.request_promote(id_or_host, now_ms=now_ms())
        self._spawn(self._move(request))
        return request

    async def _move(self, request: AliasRequest) -> None:
        await asyncio.sleep(0.1)
        async with self._moving:
            request = self.project.begin(request)
            if spoiled := self.gate.spoil_alias_request():
                self.project.abandon(request, spoiled)
            else:
                await self._warm(self.project.find(request.to_id))
                self.project.complete(request, now_ms=now_ms())
                self.fleet.retire(self.project.recent)

    # Inside

    async def _warm(self, deployment: Deployment) -> None:
        with contextlib.suppress(StartFailed):  # told on standard error by the fleet, and by each request's 502
            await self.fleet.process(deployment)

    def _database_url(self, deployment_id: str, build: int) -> dict[str, str]:
        """As whom this one deployment asks, so that sessions and queries tell deployments apart."""
        if (admin := self.config.database_url) is None:
            return {}
        role = deployment_role(build, deployment_id)
        return {"DATABASE_URL": create_deployment_role(admin.get_secret_value(), role, self.config.role_mark)}

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            sys.stderr.write(f"The platform's own work failed: {type(task.exception()).__name__}\n")

    def _seed(self) -> None:
        """The past: one live deployment a fortnight for each build, one that failed to build, one preview."""
        for key, value in self.config.environment.items():
            type_ = "sensitive" if any(word in key for word in SECRET_WORDS) else "encrypted"
            self.project.environment.create(
                key, value.get_secret_value(), type_, ["production", "preview"], now_ms=self.project.created_ms
            )
        builds = self.config.past_builds
        for age, build in reversed(list(enumerate(reversed(builds)))):  # oldest first: the last added is live
            self._seed_one(build, "production", timedelta(days=6 + 14 * age, hours=age), served=True)
        self._seed_one(builds[-1], "preview", timedelta(days=3), served=False)
        self._seed_one(builds[-1], "production", timedelta(days=2), served=False, error="Command exited with 1")

    def _seed_one(self, build: int, target: str, age: timedelta, *, served: bool, error: str | None = None) -> None:
        created, identity = now_ms() - int(age.total_seconds() * 1000), self.project.identity
        ready = None if error else created + 41_000
        branch = "main" if target == "production" else f"build-{build}-preview"
        id_ = new_deployment_id()
        environment = {} if error else self.project.environment.snapshot(target) | self._database_url(id_, build)
        self.project.add(
            Deployment(
                id=id_,
                host=new_host(identity.name, identity.team_slug),
                build=build,
                target=target,
                created_ms=created,
                state=ReadyState.ERROR if error else ReadyState.READY,
                building_ms=created + 2_000,
                ready_ms=ready,
                aliased_ms=ready,
                served=served,
                meta={
                    "schemaVersion": str(build),
                    "githubCommitSha": secrets.token_hex(20),
                    "githubCommitMessage": f"Release build {build}",
                    "githubCommitRef": branch,
                },
                environment=environment,
                error=error,
            )
        )


def _project(config: PlatformConfig) -> Project:
    host = config.production_url.split("://", 1)[-1].rstrip("/")
    identity = Identity(
        project_id=config.project_id,
        name=config.project_name,
        team_id=config.team_id,
        team_slug=TEAM_SLUG,
        aliases=(f"{config.project_name}.vercel.app", host),
        plan=config.plan,
    )
    return Project(identity, created_ms=now_ms() - int(timedelta(days=400).total_seconds() * 1000))

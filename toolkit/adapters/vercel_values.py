"""What Vercel tells, as values: deployments, the project, variables, log lines; and how its JSON becomes them.

Fields that the vendor adds are ignored; one that it stops sending is an error that names it. No value of a variable and
no token is ever part of these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One immutable build of the project. Times are aware, UTC.

    `state` is the vendor's readyState (READY, BUILDING, ERROR, …). `substate` PROMOTED means that it served production
    at some time, STAGED that it never did. `alias_assigned` means that its names are in place. `is_rollback_candidate`
    is None where the vendor does not say (a deployment that was asked for by itself).
    """

    id: str
    host: str
    name: str
    state: str
    substate: str | None
    target: str
    created_at: datetime
    ready_at: datetime | None
    aliases: tuple[str, ...]
    alias_assigned: bool
    is_rollback_candidate: bool | None
    meta: Mapping[str, str] = field(default_factory=dict)
    project_id: str | None = None

    @property
    def ready(self) -> bool:
        return self.state == "READY"

    @property
    def schema_version(self) -> int | None:
        """The migration version that this code was built for, where its metadata says so."""
        text = self.meta.get("schemaVersion", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def commit(self) -> str | None:
        return self.meta.get("githubCommitSha")

    @property
    def commit_message(self) -> str | None:
        return self.meta.get("githubCommitMessage")


@dataclass(frozen=True, kw_only=True)
class Switched(Deployment):
    """The deployment that production was seen to point at after a rollback or a promote.

    `previous` is where it pointed before, None when that was not known. `already` tells that nothing had to be done.
    While `automatic_assignment` is False the next push does not go live by itself; a promote restores that. None: not
    told.
    """

    previous: str | None
    already: bool
    automatic_assignment: bool | None
    seconds: float


@dataclass(frozen=True)
class AliasRequest:
    """The latest rollback or promote that the vendor knows of. Its status alone proves nothing."""

    type: str
    from_id: str | None
    to_id: str
    status: str
    requested_at: datetime


@dataclass(frozen=True)
class ProjectState:
    """Where production points, by the project's own account, and what was asked of it last.

    `automatic_assignment` False: a push does not go live by itself, as after a rollback. None: the vendor does not say.
    """

    id: str
    name: str
    production_id: str | None
    production_hosts: tuple[str, ...]
    automatic_assignment: bool | None
    last_request: AliasRequest | None


@dataclass(frozen=True)
class EnvironmentVariable:
    """A variable's name and where it applies, never its value. It reaches only deployments built after `updated_at`."""

    id: str
    key: str
    type: str
    targets: tuple[str, ...]
    updated_at: datetime | None


@dataclass(frozen=True)
class LogLine:
    """One line that a deployment wrote. `message` is what it printed; `status` is None outside a request."""

    at: datetime
    level: str
    message: str
    source: str
    method: str
    path: str
    status: int | None
    row_id: str


# The vendor's JSON. Times are milliseconds since 1970.


def _moment(value: object) -> object:
    return datetime.fromtimestamp(value / 1000, UTC) if isinstance(value, int | float) else value


Moment = Annotated[datetime, BeforeValidator(_moment)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class DeploymentBody(_Body):
    """An entry of a list, or one deployment."""

    id: str = Field(validation_alias=AliasChoices("id", "uid"))
    url: str
    name: str
    created: Moment = Field(validation_alias=AliasChoices("createdAt", "created"))
    state: str = Field(validation_alias=AliasChoices("readyState", "state"))
    substate: str | None = Field(None, validation_alias="readySubstate")
    target: str | None = None
    ready: Moment | None = None
    alias: list[str] = []
    assigned: bool | int | None = Field(None, validation_alias="aliasAssigned")
    candidate: bool | None = Field(None, validation_alias="isRollbackCandidate")
    meta: dict[str, str] = {}
    projectId: str | None = None

    def value(self) -> Deployment:
        return Deployment(
            id=self.id,
            host=self.url,
            name=self.name,
            state=self.state,
            substate=self.substate,
            target=self.target or "preview",
            created_at=self.created,
            ready_at=self.ready,
            aliases=tuple(self.alias),
            alias_assigned=bool(self.assigned),
            is_rollback_candidate=self.candidate,
            meta=self.meta,
            project_id=self.projectId,
        )


class Pagination(_Body):
    next: int | None = None


class DeploymentPage(_Body):
    deployments: list[DeploymentBody]
    pagination: Pagination


class _Pointed(_Body):
    id: str | None = None


class _Domain(_Body):
    domain: str
    target: str | None = None
    redirect: str | None = None


class _AliasRequest(_Body):
    type: str
    fromDeploymentId: str | None = None
    toDeploymentId: str
    jobStatus: str
    requestedAt: Moment

    def value(self) -> AliasRequest:
        return AliasRequest(self.type, self.fromDeploymentId, self.toDeploymentId, self.jobStatus, self.requestedAt)


class ProjectBody(_Body):
    """The project, with the latest alias request where it was asked for."""

    id: str
    name: str
    targets: dict[str, _Pointed | None] = {}
    alias: list[_Domain] = []
    autoAssignCustomDomains: bool | None = None
    lastAliasRequest: _AliasRequest | None = None

    def value(self) -> ProjectState:
        production, last = self.targets.get("production"), self.lastAliasRequest
        return ProjectState(
            id=self.id,
            name=self.name,
            production_id=production.id if production else None,
            production_hosts=tuple(d.domain for d in self.alias if d.target == "PRODUCTION" and not d.redirect),
            automatic_assignment=self.autoAssignCustomDomains,
            last_request=last.value() if last else None,
        )


class VariableBody(_Body):
    id: str
    key: str
    type: str
    target: list[str] | Literal["production", "preview", "development"] = []
    updatedAt: Moment | None = None

    def value(self) -> EnvironmentVariable:
        targets = (self.target,) if isinstance(self.target, str) else tuple(self.target)
        return EnvironmentVariable(self.id, self.key, self.type, targets, self.updatedAt)


class VariableList(_Body):
    envs: list[VariableBody]


class CreatedVariable(_Body):
    created: VariableBody
    failed: list[object] = []


class LogRow(_Body):
    rowId: str
    level: str
    message: str
    source: str
    timestampInMs: Moment
    requestMethod: str = ""
    requestPath: str = ""
    responseStatusCode: int = 0

    def value(self) -> LogLine:
        status = self.responseStatusCode if self.responseStatusCode > 0 else None
        return LogLine(
            self.timestampInMs,
            self.level,
            self.message,
            self.source,
            self.requestMethod,
            self.requestPath,
            status,
            self.rowId,
        )

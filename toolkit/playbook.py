"""The playbook as configuration: what is normal, who, where, and how long. Another service is another `playbook.toml`.

The only reader of the environment. A playbook names environment variables and never holds a secret; a target's settings
are resolved when they are needed, and each value that is read is masked from then on in all that is written.
"""

import os
import tomllib
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from toolkit.errors import UsageError
from toolkit.places import DEFAULT_SANDBOX, sandbox_home
from toolkit.redaction import keep_secret

DEFAULT_PATH = Path("playbook.toml")
TARGET_VARIABLE = "TOOLKIT_TARGET"
PLAYBOOK_VARIABLE = "TOOLKIT_PLAYBOOK"
SANDBOX_VARIABLE = "TOOLKIT_SANDBOX"
ENVIRONMENT_FILE = "environment"

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class Severity(StrEnum):
    """The playbook's four. P0 is the worst."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"

    def worse_than(self, other: "Severity") -> bool:
        return self.value < other.value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Service(_Section):
    """`name` is what production's confirmation asks for, and part of folders' names."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    title: str
    owner: str
    approved_by: str


class Review(_Section):
    """When somebody last read the playbook, and when somebody will."""

    version: str
    last_updated: date
    next_review: date


class Monitoring(_Section):
    """How the monitor looks. A drill scales these; an emergency does not.

    `fast_enough_ms` is for a target on slower hardware than production, in place of the thresholds' own.
    """

    poll_every_s: Seconds = 15
    window_s: Seconds = 120
    min_requests: Annotated[int, Field(ge=1)] = 30
    polls_to_raise: Annotated[int, Field(ge=1)] = 2
    polls_to_clear: Annotated[int, Field(ge=1)] = 4
    silence_s: Seconds = 900
    fast_enough_ms: Annotated[float, Field(ge=0)] | None = None


OPTIONAL = (
    "migrations_folder",
    "backups_folder",
    "statement_log_env",
    "supabase_project_env",
    "supabase_token_env",
    "supabase_api_url_env",
)


class TargetNames(_Section):
    """A target by the *names* of the variables that hold what is needed to reach it.

    `migrations_folder` and `backups_folder` may name variables that hold folders: one to read instead of `migrations`,
    and the one that scheduled backups are in. `statement_log_env`: where the application keeps a log of its latest
    statements, a file or a folder of them, which tells whether other code fits a schema. `supabase_project_env` and
    `supabase_token_env` (a token of the management API) offer the platform's point-in-time recovery. The variables of
    all these may be unset.
    """

    production: bool
    sandbox: bool = False
    database_url_env: VariableName = "DATABASE_URL"
    service_url_env: VariableName = "SERVICE_URL"
    vercel_api_url_env: VariableName = "VERCEL_API_URL"
    vercel_token_env: VariableName = "VERCEL_TOKEN"
    vercel_project_env: VariableName = "VERCEL_PROJECT_ID"
    vercel_team_env: VariableName = "VERCEL_TEAM_ID"
    webhook_secret_env: VariableName = "WHOP_WEBHOOK_SECRET"
    cron_secret_env: VariableName = "CRON_SECRET"
    migrations: Path
    migrations_folder: VariableName | None = None
    backups_folder: VariableName | None = None
    statement_log_env: VariableName | None = None
    supabase_project_env: VariableName | None = None
    supabase_token_env: VariableName | None = None
    supabase_api_url_env: VariableName | None = None
    monitoring: Monitoring = Monitoring()


class Database(_Section):
    """Tables are `table` (in public) or `schema.table`; columns of them follow after a dot.

    `state_table` is the migration tool's; without it the only one that is found, and several are an error.

    `references`: column by the column in which each of its values must be found, foreign key or not. `quiet_tables`:
    small tables that change now and then, by the column that then changes with them. `watched_columns`: whose values
    are spread much alike from one day to the next (`table.column`). `queue_schema`: pg-boss's.
    `application_roles`: as whom the application writes, itself or as a member; () where the grants tell. A freeze takes
    everybody's write privileges away but those of `freeze_exempt_roles`. `deployment_role`: as whom a deployment asks
    the database, its `{schema_version}` or `{deployment}` filled in; those that share a role cannot be told apart.
    """

    critical_tables: Annotated[tuple[str, ...], Field(min_length=1)]
    schemas: tuple[str, ...] = ("public",)
    state_table: str = ""
    events_table: str
    events_key: str
    events_time: str
    references: Mapping[str, str] = {}
    quiet_tables: Mapping[str, str] = {}
    watched_columns: tuple[str, ...] = ()
    queue_schema: str | None = None
    application_roles: tuple[str, ...] = ()
    freeze_exempt_roles: tuple[str, ...] = ()
    deployment_role: str | None = None


class Freeze(_Section):
    """In which order frozen writes are released: tables (`table`, `schema.table` or `schema.*`) by stage.

    Without a line for a stage: `webhooks` is the events' table, what an event leaves traces in, and what references
    these; `reminders` the job queue's schema; `everything` always the rest.
    """

    stages: Mapping[Literal["webhooks", "reminders"], tuple[str, ...]] = {}


class Endpoints(_Section):
    """Paths on the service. `health` answers first when one asks whether it is up at all.

    `scheduler_last_run`: the field in which the scheduler's answer says when it ran last; '' where it says so nowhere,
    and then verification does not claim that it runs.
    """

    health: str
    health_checks: tuple[str, ...]
    webhook: str
    pages: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    scheduler: str
    scheduler_last_run: str = ""


class Thresholds(_Section):
    """The playbook's 'Incident Classification', in figures. Below `fast_enough_ms` nothing counts as slow.

    `value_shift`: so large a share of a watched column's values must not change at once."""

    error_rate: Share
    degradation: Annotated[float, Field(gt=0)]
    fast_enough_ms: Annotated[float, Field(ge=0)] = 200
    active_connections: Annotated[int, Field(ge=1)]
    queue_failed_jobs: Annotated[int, Field(ge=0)]
    value_shift: Share = 0.3


class SyntheticEvent(_Section):
    """A webhook that verification signs, sends twice, and removes again."""

    type: Literal["payment_failed", "payment_succeeded", "membership_activated", "membership_deactivated"]
    failure_reason: str | None = None


class Figure(_Section):
    """A number that the service shows (`field` of the JSON at `path`, or without one the lines of a CSV below its
    header) and the rows that it counts: of the last `days` days by `time`, at most `at_most`."""

    path: str
    table: str
    field: str | None = None
    time: str | None = None
    days: Annotated[int, Field(ge=1)] | None = None
    at_most: Annotated[int, Field(ge=1)] | None = None


class Verification(_Section):
    """What another service may lack is left out, and then not checked. `traces`: tables in which a synthetic event
    leaves rows beside its own, by the column that names its membership."""

    events: tuple[SyntheticEvent, ...] = ()
    traces: Mapping[str, str] = {}
    figures: tuple[Figure, ...] = ()


class SeverityRule(_Section):
    """One severity: what it means, how fast to answer, how often to tell."""

    title: str
    definitions: Annotated[tuple[str, ...], Field(min_length=1)]
    respond_within_minutes: Annotated[int, Field(ge=0)]
    update_every_minutes: Annotated[int, Field(ge=1)]


class Contact(_Section):
    role: str
    tier: Literal["primary", "escalation", "external"]
    phone: str = ""
    slack: str = ""
    email: str = ""
    portal: str = ""


class Playbook(_Section):
    """All of `playbook.toml`, checked. `folder` is where it stands: relative paths start there."""

    folder: Path = Field(exclude=True)
    service: Service
    review: Review
    targets: Mapping[str, TargetNames]
    database: Database
    endpoints: Endpoints
    thresholds: Thresholds
    freeze: Freeze = Freeze()
    verification: Verification = Verification()
    severity: Mapping[Severity, SeverityRule]
    contacts: tuple[Contact, ...] = ()
    channels: Mapping[str, str] = {}
    links: Mapping[str, str] = {}

    @field_validator("severity")
    @classmethod
    def _all_four(cls, rules: Mapping[Severity, SeverityRule]) -> Mapping[Severity, SeverityRule]:
        if missing := [severity.value for severity in Severity if severity not in rules]:
            raise ValueError(f"{', '.join(missing)} must be there too")
        return rules

    def thresholds_on(self, target: "Target") -> Thresholds:
        """The thresholds as they hold on a target: its own `fast_enough_ms` where it has one."""
        own = target.monitoring.fast_enough_ms
        return self.thresholds if own is None else self.thresholds.model_copy(update={"fast_enough_ms": own})

    def target(
        self,
        name: str | None,
        environ: Mapping[str, str] | None = None,
        *,
        database_url_env: str = "",
        database_only: bool = False,
    ) -> "Target":
        """Resolve a target's settings from the environment.

        `name` may be None where TOOLKIT_TARGET names one; there is no other default. A sandbox's variables are also
        looked up in the environment file that a running sandbox keeps, so that a person need not copy them.
        `database_url_env` names another variable for the database's URL than the playbook does. `database_only`: what
        is to be done needs no more than the database; the other variables may be unset, and `Target.unset` names them.
        Raises UsageError that names every variable that is missing; values are never shown.
        """
        given = os.environ if environ is None else environ
        chosen = name or given.get(TARGET_VARIABLE)
        if not chosen:
            raise UsageError(
                "No target was named", next=f"name one: {', '.join(self.targets)}, or set {TARGET_VARIABLE}"
            )
        if chosen not in self.targets:
            raise UsageError(f"There is no target {chosen!r} in the playbook", next=f"use {', '.join(self.targets)}")
        names = self.targets[chosen]
        found = dict(_sandbox_environment(given)) | dict(given) if names.sandbox else dict(given)
        wanted = {field: value for field, value in names if field.endswith("_env") and field not in OPTIONAL}
        wanted |= {"database_url_env": database_url_env} if database_url_env else {}
        unset = {field: variable for field, variable in wanted.items() if not found.get(variable)}
        needed = [variable for field, variable in unset.items() if field == "database_url_env" or not database_only]
        if missing := sorted(needed):
            start = " (or start one: toolkit sandbox start)" if names.sandbox else ""
            raise UsageError(
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
                target=chosen,
                state="nothing was done",
                next=f"export {'it' if len(missing) == 1 else 'them'}{start}, then repeat the command",
            )
        folders = {name: found.get(getattr(names, name) or "") for name in OPTIONAL}
        values = {field: found.get(variable, "") for field, variable in wanted.items()}
        return _resolve(chosen, names, values, self.folder, folders).model_copy(
            update={"unset": {field.removesuffix("_env"): variable for field, variable in unset.items()}}
        )


class Target(BaseModel):
    """One place to act on, with its secrets. It prints without them, and is never written anywhere.

    `unset` names the variables of what was not given, by field; it is '' then.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    production: bool
    sandbox: bool
    database_url: SecretStr
    service_url: str
    vercel_api_url: str
    vercel_token: SecretStr
    vercel_project: str
    vercel_team: str
    webhook_secret: SecretStr
    cron_secret: SecretStr
    migrations: Path
    backups: Path | None = None
    statement_log: Path | None = None
    supabase_project: str = ""
    supabase_token: SecretStr | None = None
    supabase_api_url: str = ""
    monitoring: Monitoring
    unset: Mapping[str, str] = {}


def load_playbook(path: Path | str | None = None) -> Playbook:
    """Read and check a playbook: the given path, TOOLKIT_PLAYBOOK, or `playbook.toml` here or in a folder above.

    Raises UsageError that names the file and every key that is wrong, unknown or missing.
    """
    file = _find(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{file} is not TOML: {error}", next="mend that line, then repeat the command") from None
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", next=f"name another: {PLAYBOOK_VARIABLE}=PATH"
        ) from None
    try:
        return Playbook.model_validate(content | {"folder": file.resolve().parent})
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg'][:1].lower()}{e['msg'][1:]}" for e in error.errors()
        )
        raise UsageError(
            f"{file} has keys that are wrong: {wrong}", next="mend them, then repeat the command"
        ) from None


def database_url(variable: str) -> str:
    """The URL that an environment variable holds. UsageError where it holds none."""
    if not (url := os.environ.get(variable)):
        raise UsageError(f"{variable} is not set", state="nothing was done", next="export it, then repeat the command")
    return url


def pg_bindir(environ: Mapping[str, str] | None = None, *, major: int | None = None) -> Path | None:
    """The folder of an installed PostgreSQL's programs, named by PG_BINDIR; None for the embedded ones.

    With a `major`, the one that PG_BINDIR_<major> names (PG_BINDIR_16), and no other.
    """
    variable = "PG_BINDIR" if major is None else f"PG_BINDIR_{major}"
    value = (os.environ if environ is None else environ).get(variable)
    return Path(value) if value else None


def _find(path: Path | str | None) -> Path:
    named = path or os.environ.get(PLAYBOOK_VARIABLE)
    if named:
        return Path(named)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / DEFAULT_PATH).exists():
            return folder / DEFAULT_PATH
    raise UsageError(
        f"There is no {DEFAULT_PATH} here or in a folder above",
        next=f"name one: {PLAYBOOK_VARIABLE}=PATH",
    )


def _sandbox_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    file = sandbox_home(environ.get(SANDBOX_VARIABLE, DEFAULT_SANDBOX)) / ENVIRONMENT_FILE
    if not file.exists():
        return {}
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)


def _secret(value: str | None) -> SecretStr | None:
    if not value:
        return None
    keep_secret(value)
    return SecretStr(value)


def _resolve(
    name: str, names: TargetNames, values: Mapping[str, str], folder: Path, folders: Mapping[str, str | None]
) -> Target:
    settings = {field.removesuffix("_env"): value for field, value in values.items()}
    for secret in ("database_url", "vercel_token", "webhook_secret", "cron_secret"):
        if settings[secret]:
            keep_secret(settings[secret])
    return Target(
        name=name,
        production=names.production,
        sandbox=names.sandbox,
        migrations=folder / (folders["migrations_folder"] or names.migrations),
        backups=folder / folders["backups_folder"] if folders["backups_folder"] else None,
        monitoring=names.monitoring,
        statement_log=folder / folders["statement_log_env"] if folders["statement_log_env"] else None,
        supabase_project=folders["supabase_project_env"] or "",
        supabase_token=_secret(folders["supabase_token_env"]),
        supabase_api_url=folders["supabase_api_url_env"] or "",
        **settings,
    )

"""Targets: each by the names of the variables that hold what is needed to reach it, resolved when it is needed.

A playbook never holds a secret. A resolved target prints without its secrets and is written nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from toolkit.errors import UsageError
from toolkit.playbook.environment import sandbox_environment, secret
from toolkit.playbook.section import Seconds, Section, VariableName


class Monitoring(Section):
    """How the monitor looks. A drill scales these; an emergency does not.

    `fast_enough_ms` is for a target on slower hardware than production, in place of the thresholds' own. `minute_s`:
    how many seconds a minute of the playbook's (silence, responses, updates) takes: the one factor that scales a drill.
    """

    poll_every_s: Seconds = 15
    window_s: Seconds = 120
    min_requests: Annotated[int, Field(ge=1)] = 30
    polls_to_raise: Annotated[int, Field(ge=1)] = 2
    polls_to_clear: Annotated[int, Field(ge=1)] = 4
    silence_minutes: Annotated[float, Field(gt=0)] = 15
    minute_s: Seconds = 60
    fast_enough_ms: Annotated[float, Field(ge=0)] | None = None

    @property
    def silence_s(self) -> float:
        """So long may no event come, in seconds of this target's."""
        return self.silence_minutes * self.minute_s


OPTIONAL = (
    "migrations_folder",
    "backups_folder",
    "statement_log_env",
    "service_log_env",
    "supabase_project_env",
    "supabase_token_env",
    "supabase_api_url_env",
)


class ChannelNames(Section):
    """By which variables the channels are reached from a target. What is not named, or holds nothing, is not sent to.

    The addresses (`…_api_url_env`) are for another server than the vendor's own, as a drill has.
    """

    slack_token_env: VariableName | None = None
    slack_api_url_env: VariableName | None = None
    pagerduty_routing_key_env: VariableName | None = None
    pagerduty_api_url_env: VariableName | None = None
    status_page_token_env: VariableName | None = None
    status_page_id_env: VariableName | None = None
    status_page_api_url_env: VariableName | None = None
    notice_token_env: VariableName | None = None
    notice_edge_config_env: VariableName | None = None
    notice_team_env: VariableName | None = None
    notice_api_url_env: VariableName | None = None
    mail_host_env: VariableName | None = None
    mail_port_env: VariableName | None = None
    mail_user_env: VariableName | None = None
    mail_password_env: VariableName | None = None


class ChannelAccess(BaseModel):
    """The channels of a target with their secrets, which it does not print. '' and None: not given.

    `unset` names the variables that the playbook names and that hold nothing, by field.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    slack_token: SecretStr | None = None
    slack_api_url: str = ""
    pagerduty_routing_key: SecretStr | None = None
    pagerduty_api_url: str = ""
    status_page_token: SecretStr | None = None
    status_page_id: str = ""
    status_page_api_url: str = ""
    notice_token: SecretStr | None = None
    notice_edge_config: str = ""
    notice_team: str = ""
    notice_api_url: str = ""
    mail_host: str = ""
    mail_port: str = ""
    mail_user: str = ""
    mail_password: SecretStr | None = None
    unset: Mapping[str, str] = {}


class TargetNames(Section):
    """A target by the *names* of the variables that hold what is needed to reach it.

    `migrations_folder` and `backups_folder` may name variables that hold folders: one to read instead of `migrations`,
    and the one that scheduled backups are in. `service_log_env`: the service's own log, a file with a JSON object for
    each request (method, path, status, ms, error), read in place of the platform's. `statement_log_env`: where the
    application keeps a log of its latest statements, a file or a folder of them, which tells whether other code fits a
    schema. `supabase_project_env` and `supabase_token_env` (a token of the management API) offer the platform's
    point-in-time recovery. The variables of all these may be unset. `platform`: who hosts the deployments; with "none"
    there is nobody to ask, and its variables are not wanted. Without `webhook_secret_env` or `cron_secret_env` the
    service wants no such secret.
    """

    production: bool
    sandbox: bool = False
    platform: Literal["vercel", "none"] = "vercel"
    database_url_env: VariableName = "DATABASE_URL"
    service_url_env: VariableName = "SERVICE_URL"
    vercel_api_url_env: VariableName = "VERCEL_API_URL"
    vercel_token_env: VariableName = "VERCEL_TOKEN"
    vercel_project_env: VariableName = "VERCEL_PROJECT_ID"
    vercel_team_env: VariableName = "VERCEL_TEAM_ID"
    webhook_secret_env: VariableName | None = None
    cron_secret_env: VariableName | None = None
    migrations: Path
    migrations_folder: VariableName | None = None
    backups_folder: VariableName | None = None
    statement_log_env: VariableName | None = None
    service_log_env: VariableName | None = None
    supabase_project_env: VariableName | None = None
    supabase_token_env: VariableName | None = None
    supabase_api_url_env: VariableName | None = None
    monitoring: Monitoring = Monitoring()
    channels: ChannelNames = ChannelNames()

    @property
    def wanted(self) -> Mapping[str, str]:
        """What must be set to work on it, as field → variable."""
        named = {field: value for field, value in self if field.endswith("_env") and field not in OPTIONAL}
        hosted = self.platform != "none"
        return {f: v for f, v in named.items() if v is not None and (hosted or not f.startswith("vercel_"))}

    def known(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """The environment as this target sees it. A sandbox's variables are also looked up in the file that a running
        sandbox keeps, so that a person need not copy them."""
        return dict(sandbox_environment(environ)) | dict(environ) if self.sandbox else environ


class Target(BaseModel):
    """One place to act on, with its secrets. It prints without them, and is never written anywhere.

    `unset` names the variables of what was not given, by field; it is '' then, as what the playbook does not name.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    name: str
    production: bool
    sandbox: bool
    platform: Literal["vercel", "none"] = "vercel"
    database_url: SecretStr
    service_url: str
    vercel_api_url: str = ""
    vercel_token: SecretStr = SecretStr("")
    vercel_project: str = ""
    vercel_team: str = ""
    webhook_secret: SecretStr = SecretStr("")
    cron_secret: SecretStr = SecretStr("")
    migrations: Path
    backups: Path | None = None
    statement_log: Path | None = None
    service_log: Path | None = None
    supabase_project: str = ""
    supabase_token: SecretStr | None = None
    supabase_api_url: str = ""
    monitoring: Monitoring
    channels: ChannelAccess = ChannelAccess()
    unset: Mapping[str, str] = {}


def resolve_target(
    name: str, names: TargetNames, folder: Path, environ: Mapping[str, str], wanted: Mapping[str, str], needed: set[str]
) -> Target:
    """Read a target's settings. `wanted` is field → variable; those of `needed` must be set.

    Raises UsageError that names every variable that is missing; values are never shown.
    """
    unset = {field: variable for field, variable in wanted.items() if not environ.get(variable)}
    if missing := sorted(variable for field, variable in unset.items() if field in needed):
        start = " (or start one: toolkit sandbox start)" if names.sandbox else ""
        raise UsageError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
            target=name,
            state="nothing was done",
            next=f"export {'it' if len(missing) == 1 else 'them'}{start}, then repeat the command",
        )
    values = {field: environ.get(variable, "") for field, variable in wanted.items()}
    folders = {field: environ.get(getattr(names, field) or "") for field in OPTIONAL}
    target = _resolve(name, names, values, folder, folders)
    unset_fields = {field.removesuffix("_env"): variable for field, variable in unset.items()}
    return target.model_copy(update={"unset": unset_fields, "channels": resolve_channels(names.channels, environ)})


@dataclass(frozen=True)
class PlatformIds:
    """By what the platforms know a target: no secrets. '' where its variable is not set."""

    vercel_project: str = ""
    vercel_team: str = ""
    supabase_project: str = ""


def resolve_ids(names: TargetNames, environ: Mapping[str, str]) -> PlatformIds:
    """Read them. Nothing of it has to be there."""
    wanted = (names.vercel_project_env, names.vercel_team_env, names.supabase_project_env)
    return PlatformIds(*(environ.get(variable or "", "") for variable in wanted))


def resolve_channels(names: ChannelNames, environ: Mapping[str, str]) -> ChannelAccess:
    """Read what the channels need. Nothing of it has to be there."""
    named = {field.removesuffix("_env"): variable for field, variable in names if variable is not None}
    found = {field: environ[variable] for field, variable in named.items() if environ.get(variable)}
    values = {
        field: secret(value) if field.endswith(("_token", "_key", "_password")) else value
        for field, value in found.items()
    }
    unset = {field: variable for field, variable in named.items() if field not in found}
    return ChannelAccess(**values, unset=unset)


def _resolve(
    name: str, names: TargetNames, values: Mapping[str, str], folder: Path, folders: Mapping[str, str | None]
) -> Target:
    settings = {field.removesuffix("_env"): value for field, value in values.items()}
    for each in ("database_url", "vercel_token", "webhook_secret", "cron_secret"):
        secret(settings.get(each))
    return Target(
        name=name,
        production=names.production,
        sandbox=names.sandbox,
        platform=names.platform,
        migrations=folder / (folders["migrations_folder"] or names.migrations),
        backups=folder / folders["backups_folder"] if folders["backups_folder"] else None,
        monitoring=names.monitoring,
        statement_log=folder / folders["statement_log_env"] if folders["statement_log_env"] else None,
        service_log=folder / folders["service_log_env"] if folders["service_log_env"] else None,
        supabase_project=folders["supabase_project_env"] or "",
        supabase_token=secret(folders["supabase_token_env"]),
        supabase_api_url=folders["supabase_api_url_env"] or "",
        **settings,
    )

"""The systems of one target together: its service, its database, its platform. What a notebook or a command acts on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from toolkit.adapters.postgres import Database
from toolkit.adapters.service import ServiceClient, ServiceConfig
from toolkit.adapters.supabase import API_URL, SupabaseClient
from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.errors import PlatformError, UsageError
from toolkit.playbook import Playbook, Target, Thresholds

PLATFORM = ("vercel_api_url", "vercel_token", "vercel_project", "vercel_team")


@dataclass(frozen=True)
class Systems:
    """Clients of one target. Nothing is connected before it is asked something."""

    playbook: Playbook
    target: Target
    database: Database
    platform: VercelClient
    service: ServiceClient
    recovery: SupabaseClient | None = None  # the platform's own, where the playbook names a project of it

    @property
    def thresholds(self) -> Thresholds:
        """The playbook's, with what this target says of its own speed."""
        return self.playbook.thresholds_on(self.target)

    @property
    def hosted(self) -> bool:
        """Whether there is a platform that could be asked for deployments, logs and where production points."""
        return self.target.platform != "none"

    @property
    def production_host(self) -> str:
        """The host under which production is served; the platform resolves it to a deployment.

        Raises PlatformError when the service's URL was not given."""
        if not self.target.service_url:
            raise PlatformError(f"{self.target.unset['service_url']} is not set, which names production's host")
        return urlsplit(self.target.service_url).netloc


def connect(playbook: Playbook, target: Target) -> Systems:
    """Clients for a resolved target. Opens no connection. One whose settings are unset says so when it is asked.

    UsageError for a setting that cannot be; none is quoted.
    """
    with _settings_of(target):
        platform = _platform(target)
        service = ServiceConfig(
            base_url=target.service_url or None,
            webhook_secret=target.webhook_secret if target.webhook_secret.get_secret_value() else None,
            cron_secret=target.cron_secret if target.cron_secret.get_secret_value() else None,
            webhook_path=playbook.endpoints.webhook,
            scheduler_path=playbook.endpoints.scheduler,
            healthy_word=playbook.endpoints.healthy_word,
        )
    return Systems(
        playbook=playbook,
        target=target,
        database=Database(target.database_url, target=target.name),
        platform=VercelClient(platform),
        service=ServiceClient(service),
        recovery=_recovery(target),
    )


def _recovery(target: Target) -> SupabaseClient | None:
    if not target.supabase_project or target.supabase_token is None:
        return None
    url = target.supabase_api_url or API_URL
    return SupabaseClient(target.supabase_token, target.supabase_project, api_url=url)


@contextmanager
def _settings_of(target: Target) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        whose = {VercelConfig.__name__: "Vercel", ServiceConfig.__name__: "the service"}[error.title]
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise UsageError(
            f"The settings of {whose} are wrong: {wrong}",
            target=target.name,
            state="nothing was done",
            next="mend the variable that holds it, then repeat the command",
        ) from None


def _platform(target: Target) -> VercelConfig:
    if target.platform == "none":
        return VercelConfig(token=SecretStr("none"), project_id="", hosted=False)
    missing = [target.unset[field] for field in PLATFORM if field in target.unset]
    if missing:
        return VercelConfig(token=SecretStr("none"), project_id="", unset=tuple(missing))
    return VercelConfig(
        api_url=target.vercel_api_url,
        token=target.vercel_token,
        project_id=target.vercel_project,
        team_id=target.vercel_team,
    )

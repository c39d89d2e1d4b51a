"""The systems of one target together: its service, its database, its platform. What a notebook or a command acts on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import ValidationError

from toolkit.adapters.postgres import Database
from toolkit.adapters.service import ServiceClient, ServiceConfig
from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.errors import UsageError
from toolkit.playbook import Playbook, Target


@dataclass(frozen=True)
class Systems:
    """Clients of one target. Nothing is connected before it is asked something."""

    playbook: Playbook
    target: Target
    database: Database
    platform: VercelClient
    service: ServiceClient

    @property
    def production_host(self) -> str:
        """The host under which production is served; the platform resolves it to a deployment."""
        return urlsplit(self.target.service_url).netloc


def connect(playbook: Playbook, target: Target) -> Systems:
    """Clients for a resolved target. Opens no connection. UsageError for a setting that cannot be; none is quoted."""
    with _settings_of(target):
        platform = VercelConfig(
            api_url=target.vercel_api_url,
            token=target.vercel_token,
            project_id=target.vercel_project,
            team_id=target.vercel_team,
        )
        service = ServiceConfig(
            base_url=target.service_url,
            webhook_secret=target.webhook_secret,
            cron_secret=target.cron_secret,
            webhook_path=playbook.endpoints.webhook,
            scheduler_path=playbook.endpoints.scheduler,
        )
    return Systems(
        playbook=playbook,
        target=target,
        database=Database(target.database_url, target=target.name),
        platform=VercelClient(platform),
        service=ServiceClient(service),
    )


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

"""The providers over sockets, an incident that is open, and a way to send what is drafted for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from providers import PAGE_TOKEN, ROUTING_KEY, TOKEN, Providers
from pydantic import SecretStr

from toolkit.adapters.notify.pagerduty import PagerDutySender
from toolkit.adapters.notify.slack import SlackSender
from toolkit.adapters.notify.statuspage import StatuspageSender
from toolkit.communicate.delivery import Post
from toolkit.communicate.outbox import By
from toolkit.incident import Incident
from toolkit.playbook import Playbook, Severity, load_playbook

ROOT = Path(__file__).parents[3]
REASON = "Error rate >10%: 45 of 100 requests failed"


@pytest.fixture
def providers() -> Iterator[Providers]:
    running = Providers()
    yield running
    running.stop()


@pytest.fixture
def playbook() -> Playbook:
    return load_playbook(ROOT / "playbook.toml")


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    found = Incident(tmp_path / "20261124T030000Z-churn-saver")
    found.folder.mkdir()
    found.open(Severity.P1, [REASON], actor="monitor")
    return found


@pytest.fixture
def post(providers: Providers, playbook: Playbook) -> Post:
    """Everything that goes over HTTP, without pauses between attempts."""
    senders = {
        By.SLACK: SlackSender(SecretStr(TOKEN), api_url=f"{providers.url}/slack/api/", timeout_s=2),
        By.PAGERDUTY: PagerDutySender(SecretStr(ROUTING_KEY), api_url=providers.url),
        By.STATUSPAGE: StatuspageSender(SecretStr(PAGE_TOKEN), "page1", api_url=providers.url),
    }
    return Post(playbook, senders, "comms", pause=lambda _seconds: None)

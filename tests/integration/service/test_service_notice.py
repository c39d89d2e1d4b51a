"""The notice of an incident, from the outbox through the platform's Edge Config to the page that people see."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from live_service import Deploy, LiveService
from pydantic import SecretStr
from stand_in import StandIn

from toolkit.adapters.notify import NotSent, Outgoing
from toolkit.adapters.notify.notice import NoticeSender
from toolkit.clock import wait_until
from toolkit.communicate.delivery import Post, send_draft
from toolkit.communicate.drafting import draft_message
from toolkit.communicate.outbox import By, Fate
from toolkit.communicate.templates import Said
from toolkit.drill.schema import migrate_up
from toolkit.errors import UsageError
from toolkit.incident import Incident, State
from toolkit.playbook import Severity, load_playbook

STORE, READING = "ecfg_test", "the-reading-token"
MESSAGE = Outgoing("1.1", "incident", (), "", "x")
SAYS = "Half of the payments are shown late. We are working on it."


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path, edge_config=STORE, edge_config_token=READING)
    yield running
    running.stop()


def shown(service: LiveService) -> str:
    page = service.client.get("/dashboard")
    assert page.status_code == 200
    return page.text.partition('role="status">')[2].partition("<")[0]


def test_a_notice_is_shown_and_taken_away_and_never_in_a_page_s_way(
    owner: psycopg.Connection, deploy: Deploy, platform: StandIn, tmp_path: Path
) -> None:
    migrate_up(owner, 8)
    service = deploy(8, EDGE_CONFIG=f"{platform.api_url}/{STORE}?token={READING}")
    assert shown(service) == ""
    playbook = load_playbook(Path(__file__).parents[3] / "playbook.toml")
    incident = Incident(tmp_path / "incident")
    incident.folder.mkdir()
    incident.open(Severity.P1, ["Partial service degradation: some"], actor="monitor")
    incident.record("notebook.started", {"notebook": "01_assess", "target": "sandbox"}, actor="drill")
    sender = NoticeSender(SecretStr(platform.token), STORE, team=platform.team_id, api_url=platform.api_url)

    said = Said(public_impact="Half of the payments are shown late")
    draft = draft_message(playbook, incident, actor="comms", said=said)
    with pytest.raises(UsageError, match="nothing of a drill is sent"):
        send_draft(incident, draft, Post(playbook, {By.NOTICE: sender}, "comms"))
    sent = send_draft(incident, draft, Post(playbook, {By.NOTICE: sender}, "comms", sandbox=True))
    assert {each.audience.by: each.fate for each in sent.deliveries}[By.NOTICE] is Fate.SENT
    wait_until(lambda: shown(service) == SAYS, within=10, what="the notice to be shown")

    for state in (State.ACKNOWLEDGED, State.MITIGATED, State.RESOLVED):
        incident.advance(state, "it helped", actor="lead")
    over = draft_message(playbook, incident, actor="comms", said=Said(resolution="Put back"))
    send_draft(incident, over, Post(playbook, {By.NOTICE: sender}, "comms", sandbox=True))
    wait_until(lambda: shown(service) == "", within=10, what="the notice to be taken away")
    platform.stop()
    assert shown(service) == ""


def test_only_the_platform_s_token_writes_and_only_the_reading_one_reads(platform: StandIn) -> None:
    with pytest.raises(NotSent, match="Vercel answered 403"):
        NoticeSender(SecretStr("another-token"), STORE, api_url=platform.api_url).send(MESSAGE)
    NoticeSender(SecretStr(platform.token), STORE, team=platform.team_id, api_url=platform.api_url).send(MESSAGE)
    url = f"{platform.api_url}/{STORE}/item/incident_notice"
    assert platform.production.get(url).status_code == 401
    assert platform.production.get(url, headers={"authorization": f"Bearer {READING}"}).json()["text"] == "x"

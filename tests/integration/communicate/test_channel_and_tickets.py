"""An incident's channel is opened once, and a vendor's ticket holds the facts and nothing private."""

from dataclasses import replace
from pathlib import Path

import pytest
from providers import TOKEN, Providers

from toolkit.communicate.channel import open_channel
from toolkit.communicate.delivery import Post, send_draft
from toolkit.communicate.drafting import draft_message
from toolkit.communicate.outbox import Fate
from toolkit.communicate.tickets import UNKNOWN, write_ticket
from toolkit.errors import UsageError
from toolkit.incident import Incident
from toolkit.playbook import Playbook


@pytest.fixture
def reachable(playbook: Playbook, providers: Providers, monkeypatch: pytest.MonkeyPatch) -> Playbook:
    """A target `staging` that reaches the stand-in of Slack, and is no sandbox."""
    names = playbook.targets["sandbox"]
    target = names.model_copy(update={"sandbox": False})
    monkeypatch.setenv("SANDBOX_SLACK_TOKEN", TOKEN)
    monkeypatch.setenv("SANDBOX_SLACK_API_URL", f"{providers.url}/slack/api/")
    return playbook.model_copy(update={"targets": {**playbook.targets, "staging": target}})


def test_a_channel_is_opened_once_and_told_everything(
    reachable: Playbook, incident: Incident, post: Post, providers: Providers
) -> None:
    opened = open_channel(reachable, incident, "staging", actor="lead")
    assert (opened.name, opened.was_there) == ("#inc-20261124t030000z-churn-saver", False)
    assert open_channel(reachable, incident, "staging", actor="lead").was_there
    assert sum("conversations.create" in path for _, path in providers.requests) == 1
    sent = send_draft(incident, draft_message(reachable, incident, actor="lead"), replace(post, playbook=reachable))
    assert {each.audience.name: each.fate for each in sent.deliveries}["channel"] is Fate.SENT
    assert opened.id in {each["channel"] for each in providers.posts}


def test_a_channel_that_a_dead_process_had_opened_is_found_again(
    reachable: Playbook, incident: Incident, providers: Providers
) -> None:
    providers.channels["inc-20261124t030000z-churn-saver"] = "C0000009"
    found = open_channel(reachable, incident, "staging", actor="lead")
    assert (found.id, found.was_there) == ("C0000009", True)


def test_without_a_token_one_is_linked(playbook: Playbook, incident: Incident, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRODUCTION_SLACK_TOKEN", raising=False)
    with pytest.raises(UsageError, match="PRODUCTION_SLACK_TOKEN is not set"):
        open_channel(playbook, incident, "production", actor="lead")
    assert open_channel(playbook, incident, "production", link="#war-room", actor="lead").id == "#war-room"


def test_a_ticket_holds_the_facts_and_says_what_is_not_known(
    playbook: Playbook, incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODUCTION_VERCEL_PROJECT_ID", "prj_1")
    monkeypatch.delenv("PRODUCTION_VERCEL_TEAM_ID", raising=False)
    incident.record(
        "monitor.observed", {"deployment": "dpl_9", "migration": {"version": 9, "dirty": False}}, actor="monitor"
    )
    error = {"status": 500, "path": "/api/webhooks/whop", "sqlstate": "23514", "count": 32}
    error |= {"message": "Key (user_id)=(u_77) of jane@customer.com"}
    server = {"version": "18.6", "system_identifier": "77", "host": "db.ref.supabase.co"}
    incident.record(
        "assessment.made", {"summary": "Migration 9 broke it.", "errors": [error], "server": server}, actor="lead"
    )
    vercel = write_ticket(playbook, incident, "vercel", "production", actor="lead")
    assert f"Project: prj_1; team: {UNKNOWN}" in vercel.text and "the latest last: dpl_9" in vercel.text
    assert "32 × 500 on /api/webhooks/whop, SQLSTATE 23514" in vercel.text
    supabase = write_ticket(playbook, incident, "supabase", "production", actor="lead")
    assert "PostgreSQL 18.6, system identifier 77" in supabase.text and "version 9, dirty False" in supabase.text
    for text in (vercel.text, supabase.text, Path(vercel.file).read_text()):
        assert not any(private in text for private in ("jane@", "u_77", "db.ref"))
    with pytest.raises(UsageError, match="use vercel or supabase"):
        write_ticket(playbook, incident, "aws", "production", actor="lead")

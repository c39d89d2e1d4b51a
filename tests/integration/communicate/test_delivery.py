"""Each message reaches each audience once: despite lost answers, limits, refusals, two senders and dead processes."""

import json
import threading
import time
from dataclasses import replace

import pytest
from providers import ROUTING_KEY, TOKEN, Providers
from pydantic import SecretStr

from toolkit.adapters.notify.slack import SlackSender
from toolkit.communicate import delivery
from toolkit.communicate.delivery import Post, send_draft
from toolkit.communicate.drafting import draft_message
from toolkit.communicate.outbox import SENDING, By, Draft, Fate, find, note, settle
from toolkit.communicate.templates import Said
from toolkit.errors import UsageError
from toolkit.incident import Incident, State
from toolkit.playbook import Playbook, Severity


def fates(draft: Draft) -> dict[str, Fate]:
    return {each.audience.name: each.fate for each in draft.deliveries}


def only_room(draft: Draft) -> Fate:
    return fates(draft)["#incidents"]


def test_everybody_is_told_once_however_often_it_is_sent(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers
) -> None:
    draft = draft_message(playbook, incident, actor="comms")
    for _ in range(3):
        sent = send_draft(incident, draft, post)
    assert {
        each.audience.name: each.fate for each in sent.deliveries if each.audience.by in post.senders
    } == dict.fromkeys(("#incidents", "#engineering", "#product", "pager", "status page"), Fate.SENT)
    assert sorted(each["channel"] for each in providers.posts) == ["C0000001", "C0000002", "C0000003"]
    assert providers.posts[0]["text"].startswith(
        "🚨 PRODUCTION INCIDENT DECLARED 🚨\n\nService: Churn Saver\nSeverity: P1\n"
    )
    assert "Impact: Error rate &gt;10%: 45 of 100" in providers.posts[0]["text"]
    assert providers.alerts == {incident.id: "trigger"} and len(providers.events) == 1
    (page,) = providers.incidents.values()
    assert page["status"] == "investigating" and len(page["incident_updates"]) == 1
    assert "45 of 100" not in page["incident_updates"][0]["body"], "what was seen inside stays inside"


def test_a_limit_is_waited_for_and_a_refusal_is_final(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers
) -> None:
    draft = draft_message(playbook, incident, actor="comms")
    waited: list[float] = []
    providers.fail = ["429:7"]
    sent = send_draft(incident, draft, replace(post, pause=waited.append), only=["#incidents"])
    assert only_room(sent) is Fate.SENT and len(providers.posts) == 1
    assert len(waited) == 1 and waited[0] >= 7

    providers.fail = ["403"]
    refused = send_draft(incident, draft, post, only=["status page"])
    assert fates(refused)["status page"] is Fate.REFUSED
    (why,) = [each.why for each in refused.deliveries if each.audience.name == "status page"]
    assert why == "Statuspage answered 403: as the test wants it"


def test_a_limit_that_is_too_long_is_left_for_later(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers
) -> None:
    draft = draft_message(playbook, incident, actor="comms")
    providers.fail = ["429:3600"]
    began = time.monotonic()
    later = send_draft(incident, draft, replace(post, pause=time.sleep), only=["#incidents"])
    assert only_room(later) is Fate.WAITING and time.monotonic() - began < 5
    assert next(each for each in later.deliveries).not_before is not None
    assert only_room(send_draft(incident, draft, post, only=["#incidents"])) is Fate.SENT


@pytest.mark.parametrize("name", ["#incidents", "status page", "pager"])
def test_an_answer_that_is_lost_sends_nothing_twice(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers, name: str
) -> None:
    draft = draft_message(playbook, incident, actor="comms")
    providers.fail = ["lost"]
    sent = send_draft(incident, draft, post, only=[name])
    assert fates(sent)[name] is Fate.SENT
    updates = [each for page in providers.incidents.values() for each in page["incident_updates"]]
    assert len(providers.posts) + len(updates) + len(providers.alerts) == 1


def test_what_nobody_can_tell_is_asked_and_not_sent_again(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers
) -> None:
    draft = draft_message(playbook, incident, actor="comms")
    providers.fail = ["cut"]
    assert only_room(send_draft(incident, draft, post, only=["#incidents"])) is Fate.UNSURE
    assert only_room(send_draft(incident, draft, post, only=["#incidents"])) is Fate.UNSURE
    assert providers.posts == []
    assert only_room(send_draft(incident, draft, post, only=["#incidents"], again=True)) is Fate.SENT
    assert len(providers.posts) == 1


@pytest.mark.parametrize("it_was_sent", [True, False])
def test_a_process_that_died_between_sending_and_recording(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers, it_was_sent: bool
) -> None:
    draft = draft_message(playbook, incident, actor="comms")
    room = draft.deliveries[0]
    note(incident, SENDING, draft, room, actor="comms")  # as the one that died had journaled
    if it_was_sent:
        metadata = {"event_type": "rollback_drills_update", "event_payload": {"id": f"{incident.id}/{room.id}"}}
        providers.posts.append({"channel": "C0000001", "text": "…", "metadata": metadata, "ts": "1.0"})
    before = len(providers.posts)
    after = send_draft(incident, draft, post, only=["#incidents"])
    assert only_room(after) is (Fate.SENT if it_was_sent else Fate.UNSURE)
    assert len(providers.posts) == before
    if not it_was_sent:
        assert only_room(settle(incident, room.id, sent=False, actor="comms")) is Fate.DRAFTED
        assert only_room(send_draft(incident, draft, post, only=["#incidents"])) is Fate.SENT


def test_two_people_who_send_at_once_send_once(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers
) -> None:
    draft = draft_message(playbook, incident, actor="comms")
    both = [threading.Thread(target=send_draft, args=(incident, draft, post)) for _ in range(4)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert len(providers.posts) == 3
    assert sum(len(each["incident_updates"]) for each in providers.incidents.values()) == 1


def test_a_provider_that_hangs_holds_nobody_up(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ATTEMPT_WITHIN_S", 0.3)
    draft = draft_message(playbook, incident, actor="comms")
    providers.fail = ["hang", "hang", "hang", "hang", "hang"]
    began = time.monotonic()
    left = send_draft(incident, draft, replace(post, within_s=0.5))
    assert time.monotonic() - began < 3
    assert Fate.SENT not in fates(left).values()


def test_the_page_s_incident_is_updated_and_not_made_again(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers
) -> None:
    send_draft(incident, draft_message(playbook, incident, actor="comms"), post)
    incident.advance(State.ACKNOWLEDGED, "taken", actor="DevOps Lead")
    incident.advance(State.MITIGATED, "it helped", actor="DevOps Lead")
    send_draft(incident, draft_message(playbook, incident, actor="comms"), post)
    incident.change_severity(Severity.P2, ["Single feature failures: one"], actor="monitor")
    incident.advance(State.RESOLVED, "all checks passed", actor="DevOps Lead")
    gap = send_draft(incident, draft_message(playbook, incident, actor="comms"), post)
    assert fates(gap)["status page"] is Fate.REFUSED, "nobody said what resolved it"
    said = Said(resolution="We put the change back")
    send_draft(incident, draft_message(playbook, incident, actor="comms", said=said), post)
    (page,) = providers.incidents.values()
    assert [each["status"] for each in page["incident_updates"]] == ["resolved", "monitoring", "investigating"]
    assert [each["event_action"] for each in providers.events] == ["trigger", "acknowledge", "resolve", "resolve"]
    assert {each["dedup_key"] for each in providers.events} == {incident.id}


def test_a_drill_sends_nothing(playbook: Playbook, incident: Incident, post: Post, providers: Providers) -> None:
    incident.record("notebook.started", {"notebook": "01_assess", "target": "sandbox"}, actor="drill")
    draft = draft_message(playbook, incident, actor="comms")
    assert draft.message.inside.startswith("DRILL.")
    with pytest.raises(UsageError, match="nothing of a drill is sent"):
        send_draft(incident, draft, post)
    assert providers.requests == []


def test_no_token_and_no_address_is_written_anywhere(
    playbook: Playbook, incident: Incident, post: Post, providers: Providers
) -> None:
    wrong = SlackSender(SecretStr("xoxb-another-secret-token"), api_url=f"{providers.url}/slack/api/")
    draft = draft_message(playbook, incident, actor="comms")
    refused = send_draft(incident, draft, replace(post, senders={**post.senders, By.SLACK: wrong}))
    assert only_room(refused) is Fate.REFUSED and refused.deliveries[0].why == "Slack answered invalid_auth"
    written = "".join(
        path.read_text() for path in incident.folder.rglob("*") if path.is_file() and path.suffix != ".reserve"
    )
    for secret in (TOKEN, ROUTING_KEY, "xoxb-another-secret-token"):
        assert secret not in written
    assert json.loads(incident.journal.path.read_text().splitlines()[-1])["kind"].startswith("update.")


def test_find_names_what_there_is(playbook: Playbook, incident: Incident) -> None:
    with pytest.raises(UsageError, match="no draft yet"):
        find(incident)
    draft_message(playbook, incident, actor="comms")
    assert find(incident, "1").id == "1-initial"
    with pytest.raises(UsageError, match="There is no draft '7'"):
        find(incident, "7")

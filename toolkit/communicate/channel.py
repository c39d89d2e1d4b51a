"""The incident's own channel: opened under a name that follows from the incident, or one that is there, linked.

The name is the same however often it is asked for: a channel that was opened by a process that died is found again.
"""

from dataclasses import dataclass

from toolkit.adapters.notify.slack import API_URL, SlackSender, channel_name
from toolkit.analysis import fields
from toolkit.communicate.audiences import CHANNEL_OPENED
from toolkit.communicate.drafting import is_drill
from toolkit.errors import UsageError
from toolkit.incident import Incident
from toolkit.playbook import Playbook


@dataclass(frozen=True)
class Channel:
    """`was_there`: it was not opened just now."""

    id: str
    name: str
    was_there: bool


def open_channel(playbook: Playbook, incident: Incident, target: str, *, link: str = "", actor: str) -> Channel:
    """Open it, or link the one that is named, which wants no token. UsageError, NotSent, JournalError."""
    known = incident.latest(CHANNEL_OPENED)
    if known and not link:
        return Channel(str(known.data["id"]), fields.text(known.data, "name") or "?", was_there=True)
    linked = Channel(link.strip(), link.strip(), was_there=True)
    found = linked if link else _opened(playbook, incident, target, actor)
    told = {"id": found.id, "name": found.name, "was_there": found.was_there}
    incident.record(CHANNEL_OPENED, told, actor=actor)
    return found


def _opened(playbook: Playbook, incident: Incident, target: str, actor: str) -> Channel:
    chat, access = playbook.channels.slack, playbook.channel_access(target)
    if is_drill(playbook, incident, incident.journal.entries()):
        raise UsageError("A drill opens no channel", state="nothing was done", next="--link one, if you want it told")
    if chat is None or not chat.incident_channel:
        raise UsageError("The playbook opens no channels ([channels.slack] incident_channel)", next="--link NAME")
    if access.slack_token is None:
        unset = access.unset.get("slack_token", "a token for Slack")
        raise UsageError(f"{unset} is not set", state="nothing was done", next="--link a channel that you opened")
    name = channel_name(chat.incident_channel.format(incident=incident.id))
    incident.record("channel.opening", {"name": name}, actor=actor)
    receipt = SlackSender(access.slack_token, api_url=access.slack_api_url or API_URL).open_channel(name)
    return Channel(receipt.reference, f"#{name}", was_there=receipt.again)

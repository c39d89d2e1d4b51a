"""Slack by its own SDK: post a message, find out whether it is there, open an incident's channel.

The SDK repeats a request by itself when a connection breaks, and would post twice: that is switched off. Each message
carries its id as metadata, so that after an answer that was lost the channel can be asked whether it has it.
"""

import logging
import re
import socket
import ssl
from typing import Any
from urllib.error import URLError

from pydantic import SecretStr
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from toolkit.adapters.notify.http import retry_after, safe_address
from toolkit.adapters.notify.message import TIMEOUT_S, NotSent, Outgoing, Receipt

API_URL = "https://slack.com/api/"
EVENT_TYPE = "rollback_drills_update"
CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
LOOKED_AT, PAGES = 100, 10
FOR_NOW = ("ratelimited", "rate_limited", "service_unavailable", "request_timeout")
IN_DOUBT = ("fatal_error", "internal_error")  # 'some aspect of the operation may have succeeded'
LONGEST_NAME = 80  # of a channel

_silent = logging.getLogger("toolkit.slack")  # the SDK would log every failure beside raising it
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class SlackSender:
    """One workspace, as a bot with `chat:write`. Looking wants `channels:history` and `channels:read` too, opening a
    channel `channels:manage`; without them the error names what is missing."""

    sends_twice_safely = False

    def __init__(self, token: SecretStr, *, api_url: str = API_URL, timeout_s: float = TIMEOUT_S) -> None:
        self._client = WebClient(
            token=token.get_secret_value(),
            base_url=safe_address(api_url, "Slack"),
            timeout=max(1, round(timeout_s)),
            retry_handlers=[],
            logger=_silent,
        )

    def send(self, message: Outgoing) -> Receipt:
        """Post it into the channel that `to` names."""
        (channel,) = message.to
        told = self._call(
            "chat.postMessage",
            changes=True,
            channel=channel,
            text=_escaped(message.text),
            mrkdwn=False,
            unfurl_links=False,
            metadata={"event_type": EVENT_TYPE, "event_payload": {"id": _key(message)}},
        )
        return Receipt(str(told.get("ts", "")))

    def look(self, message: Outgoing) -> Receipt | None:
        """Whether the channel has it, among its latest messages."""
        (channel,) = message.to
        told = self._call(
            "conversations.history", channel=self._id_of(channel), include_all_metadata=True, limit=LOOKED_AT
        )
        for each in told.get("messages", ()):
            metadata = each.get("metadata") or {}
            if metadata.get("event_type") == EVENT_TYPE and metadata["event_payload"].get("id") == _key(message):
                return Receipt(str(each.get("ts", "")), again=True)
        return None

    def open_channel(self, name: str) -> Receipt:
        """A channel of that name; the one that is there, when there is one. Its id."""
        try:
            told = self._call("conversations.create", name=channel_name(name))
        except NotSent as error:
            if "name_taken" not in error.what:
                raise
            return Receipt(self._id_of(channel_name(name)), again=True)
        return Receipt(str((told.get("channel") or {}).get("id", "")))

    def _id_of(self, channel: str) -> str:
        """A channel's id. Its name serves for posting, and for nothing else."""
        name, cursor = channel.removeprefix("#"), ""
        if CHANNEL_ID.fullmatch(name):
            return name
        for _ in range(PAGES):
            told = self._call(
                "conversations.list", limit=1000, exclude_archived=True, types="public_channel", cursor=cursor
            )
            for each in told.get("channels", ()):
                if each.get("name") == name:
                    return str(each["id"])
            if not (cursor := (told.get("response_metadata") or {}).get("next_cursor", "")):
                break
        raise NotSent(f"Slack shows no channel {channel}")

    def _call(self, method: str, *, changes: bool = False, **arguments: Any) -> dict[str, Any]:
        """The answer. Raises NotSent, outside the `except`: the SDK's error leads back to the request."""
        failure: NotSent
        try:
            answer = self._client.api_call(method, json=arguments)
            return answer.data if isinstance(answer.data, dict) else {}
        except SlackApiError as error:
            failure = _refused(error, changes=changes)
        except URLError as error:
            never_left = isinstance(error.reason, ConnectionRefusedError | socket.gaierror | ssl.SSLError)
            failure = _lost(error.reason, in_doubt=changes and not never_left)
        except (OSError, SlackClientError, ValueError) as error:
            failure = _lost(error, in_doubt=changes)
        raise failure


def channel_name(name: str) -> str:
    """As Slack takes it: small letters, digits and hyphens, at most 80."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")[:LONGEST_NAME]


def _refused(error: SlackApiError, *, changes: bool) -> NotSent:
    answer = error.response
    told = answer.data if isinstance(answer.data, dict) else {}
    word, status = str(told.get("error", "")), int(answer.status_code)
    needed = f" (needs {told['needed']})" if told.get("needed") else ""
    known = re.fullmatch(r"[a-z0-9_]{1,60}", word)
    said = f"Slack answered {word if known else status}{needed}"
    if status == 429 or word in FOR_NOW:
        return NotSent(said, again=True, after_s=retry_after(answer.headers))
    if status >= 500 or word in IN_DOUBT or not known:
        return NotSent(said, again=True, in_doubt=changes)
    return NotSent(said)


def _lost(reason: object, *, in_doubt: bool) -> NotSent:
    return NotSent(f"Slack did not answer: {type(reason).__name__}", again=True, in_doubt=in_doubt)


def _key(message: Outgoing) -> str:
    return f"{message.incident}/{message.id}"


def _escaped(text: str) -> str:
    """Slack's three characters that would be markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""The senders of a target: one for each channel of the playbook whose variables are set, and of the others what is
missing. No connection is made before something is sent."""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.adapters.notify import Sender
from toolkit.communicate.outbox import By
from toolkit.errors import UsageError
from toolkit.playbook import ChannelAccess, Playbook

HAND = "copy the text; then: toolkit update copied"


@dataclass(frozen=True)
class Access:
    """The senders by what they carry, and why the others are not there; whether they are a sandbox's."""

    senders: Mapping[By, Sender]
    missing: Mapping[By, str]
    sandbox: bool


def access_to(playbook: Playbook, target: str) -> Access:
    """Of a target by its name; nothing else of it need be set. UsageError for one that is not there, and for a setting
    that cannot be; none is quoted."""
    access = playbook.channel_access(target)
    senders: dict[By, Sender] = {}
    missing = {By.HAND: HAND}
    for by, build in (
        (By.SLACK, _slack),
        (By.PAGERDUTY, _pagerduty),
        (By.STATUSPAGE, _statuspage),
        (By.MAIL, _mail),
        (By.NOTICE, _notice),
    ):
        built = build(playbook, access)
        if isinstance(built, str):
            missing[by] = f"{built}; copy the text"
        else:
            senders[by] = built
    return Access(senders, missing, playbook.targets[target].sandbox)


def _slack(_playbook: Playbook, access: ChannelAccess) -> Sender | str:
    from toolkit.adapters.notify.slack import API_URL, SlackSender

    if access.slack_token is None:
        return _unset(access, "slack_token")
    return SlackSender(access.slack_token, api_url=access.slack_api_url or API_URL)


def _pagerduty(_playbook: Playbook, access: ChannelAccess) -> Sender | str:
    from toolkit.adapters.notify.pagerduty import API_URL, PagerDutySender

    if access.pagerduty_routing_key is None:
        return _unset(access, "pagerduty_routing_key")
    return PagerDutySender(access.pagerduty_routing_key, api_url=access.pagerduty_api_url or API_URL)


def _statuspage(_playbook: Playbook, access: ChannelAccess) -> Sender | str:
    from toolkit.adapters.notify.statuspage import API_URL, StatuspageSender

    if access.status_page_token is None or not access.status_page_id:
        return _unset(access, "status_page_token", "status_page_id")
    return StatuspageSender(
        access.status_page_token, access.status_page_id, api_url=access.status_page_api_url or API_URL
    )


def _notice(_playbook: Playbook, access: ChannelAccess) -> Sender | str:
    from toolkit.adapters.notify.notice import API_URL, NoticeSender

    if access.notice_token is None or not access.notice_edge_config:
        return _unset(access, "notice_token", "notice_edge_config")
    url = access.notice_api_url or API_URL
    return NoticeSender(access.notice_token, access.notice_edge_config, team=access.notice_team, api_url=url)


def _mail(playbook: Playbook, access: ChannelAccess) -> Sender | str:
    from toolkit.adapters.notify.mail import SUBMISSION, MailSender, MailServer

    mail = playbook.channels.mail
    if not access.mail_host or mail is None:
        return _unset(access, "mail_host")
    if access.mail_port and not access.mail_port.isdecimal():
        raise UsageError("The mail server's port is no number", state="nothing was sent")
    port = int(access.mail_port or SUBMISSION)
    return MailSender(
        MailServer(access.mail_host, mail.sender, port, user=access.mail_user, password=access.mail_password)
    )


def _unset(access: ChannelAccess, *fields: str) -> str:
    named = [access.unset[field] for field in fields if field in access.unset]
    return f"{', '.join(named)} is not set" if named else f"the target names no {' or '.join(fields)}"

"""Mail goes to a relay over TLS, as one message, and a failure says whether anything was sent. A real mail server."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from pydantic import SecretStr

from toolkit.adapters.notify import NotSent, Outgoing
from toolkit.adapters.notify.mail import MailSender, MailServer

PASSWORD = "mail-password-of-these-tests"
MESSAGE = Outgoing(
    "1-initial.4", "inc-1", ("cto@churnsaver.io", "vp@churnsaver.io"), "[P0] declared", "🚨 down 🚨\n\nSeverity: P0"
)


class Mailbox:
    """Takes mail, or refuses it as a test wants: `answers` by command."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.taken: list[Envelope] = []
        self.over_tls: list[bool] = []

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if answer := self.answers.get(f"RCPT {address}") or self.answers.get("RCPT"):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.over_tls.append(session.ssl is not None)
        if "lost" in self.answers:
            self.taken.append(envelope)
            server.transport.abort()
        elif not self.answers.get("DATA"):
            self.taken.append(envelope)
        return self.answers.get("DATA", "250 OK")


class Relay(Controller):
    """With STARTTLS and a login, as a provider's relay has."""

    context: ssl.SSLContext

    def factory(self) -> SMTP:
        return SMTP(
            self.handler, tls_context=self.context, auth_required=True, authenticator=_login, require_starttls=True
        )


def _login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    file = tmp_path_factory.mktemp("certificates") / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return context, file


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def relay(
    mailbox: Mailbox, certificates: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Relay]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[1]))
    running = Relay(mailbox, hostname="127.0.0.1", port=_free_port())
    running.context = certificates[0]
    running.start()
    yield running
    running.stop()


def sender(relay: Relay, password: str = PASSWORD) -> MailSender:
    return MailSender(
        MailServer("127.0.0.1", "incidents@churnsaver.io", relay.port, "bot", SecretStr(password), timeout_s=3)
    )


def test_it_is_sent_over_tls_to_everybody_at_once(relay: Relay, mailbox: Mailbox) -> None:
    receipt = sender(relay).send(MESSAGE)
    (envelope,) = mailbox.taken
    assert mailbox.over_tls == [True]
    assert envelope.rcpt_tos == ["cto@churnsaver.io", "vp@churnsaver.io"]
    content = envelope.original_content.decode()
    assert "Auto-Submitted: auto-generated" in content and "Subject: [P0] declared" in content
    assert receipt.reference == "<inc-1.1-initial.4@churnsaver.io>" and receipt.reference in content


@pytest.mark.parametrize(
    ("answers", "again", "in_doubt", "said"),
    [
        ({"RCPT": "550 no such user"}, False, False, "takes none of the addresses (550)"),
        ({"RCPT": "450 come back"}, True, False, "takes none of the addresses (450)"),
        ({"DATA": "451 try later"}, True, False, "answered 451"),
        ({"DATA": "554 spam"}, False, False, "answered 554"),
        ({"lost": "yes"}, True, True, "was lost"),
    ],
)
def test_what_a_failure_says(
    relay: Relay, mailbox: Mailbox, answers: dict[str, str], again: bool, in_doubt: bool, said: str
) -> None:
    mailbox.answers = answers
    with pytest.raises(NotSent) as raised:
        sender(relay).send(MESSAGE)
    assert (raised.value.again, raised.value.in_doubt) == (again, in_doubt)
    assert said in str(raised.value) and "cto@" not in str(raised.value)


def test_some_addresses_are_refused(relay: Relay, mailbox: Mailbox) -> None:
    mailbox.answers = {"RCPT vp@churnsaver.io": "550 left the company"}
    assert "1 of 2 addresses were refused" in sender(relay).send(MESSAGE).reference
    assert mailbox.taken[0].rcpt_tos == ["cto@churnsaver.io"]


def test_a_wrong_password_and_an_unknown_certificate(
    relay: Relay, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotSent, match="answered 535") as raised:
        sender(relay, "another-password").send(MESSAGE)
    assert not raised.value.again and "another-password" not in str(raised.value)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NotSent, match="certificate is not trusted"):
        sender(relay).send(MESSAGE)
    assert mailbox.taken == []


def test_nobody_there_means_not_sent() -> None:
    server = MailServer("127.0.0.1", "incidents@churnsaver.io", _free_port())
    with pytest.raises(NotSent, match="was lost: ConnectionRefusedError") as raised:
        MailSender(server).send(MESSAGE)
    assert raised.value.again and not raised.value.in_doubt

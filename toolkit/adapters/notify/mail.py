"""Mail by the standard library: to a relay that speaks TLS, one message for all of an audience's addresses.

A server that takes no TLS gets no mail, unless it is this machine's own. Up to the moment in which the text is handed
over a failure means that nothing was sent; from then on nobody can tell.
"""

import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import TypeVar

from pydantic import SecretStr

from toolkit.adapters.notify.message import TIMEOUT_S, NotSent, Outgoing, Receipt
from toolkit.adapters.vercel_config import is_here

SUBMISSION, IMPLICIT_TLS = 587, 465


@dataclass(frozen=True)
class MailServer:
    """The relay, and as whom. Port 465 speaks TLS from the start; every other begins it by STARTTLS."""

    host: str
    sender: str
    port: int = SUBMISSION
    user: str = ""
    password: SecretStr | None = None
    timeout_s: float = TIMEOUT_S


class _Watching:
    """Knows from which moment on the server may have the text."""

    handing_over = False

    def data(self, msg: object) -> tuple[int, bytes]:
        self.handing_over = True
        return super().data(msg)  # type: ignore[misc,no-any-return]


class _Smtp(_Watching, smtplib.SMTP): ...


class _SmtpTls(_Watching, smtplib.SMTP_SSL): ...


Connection = TypeVar("Connection", _Smtp, _SmtpTls)


class MailSender:
    """`to` of a message are addresses. They stand in the message and in no error."""

    sends_twice_safely = False

    def __init__(self, server: MailServer) -> None:
        self._server = server

    def send(self, message: Outgoing) -> Receipt:
        """Hand it over to the relay. A relay that takes it for some addresses and not for others has taken it."""
        failure: NotSent | None = None
        refused: dict[str, tuple[int, bytes]] = {}
        smtp = None
        try:
            smtp = self._connected()
            refused = smtp.send_message(self._composed(message))
        except (OSError, smtplib.SMTPException) as error:
            failure = _meaning(error, handing_over=smtp is not None and smtp.handing_over)
        finally:
            if smtp is not None:
                _part(smtp)
        if failure is not None:
            raise failure
        some = f" ({len(refused)} of {len(message.to)} addresses were refused)" if refused else ""
        return Receipt(f"{self._name(message)}{some}")

    def look(self, message: Outgoing) -> Receipt | None:
        raise NotSent("A mail server does not tell what it has taken")

    def _connected(self) -> "_Smtp | _SmtpTls":
        """Logged in, over TLS. Raises OSError, SMTPException."""
        server = self._server
        context = ssl.create_default_context()
        if server.port == IMPLICIT_TLS:
            return self._logged_in(_SmtpTls(server.host, server.port, timeout=server.timeout_s, context=context))
        smtp = _Smtp(server.host, server.port, timeout=server.timeout_s)
        try:
            smtp.ehlo_or_helo_if_needed()
            if smtp.has_extn("starttls") or not is_here(server.host):
                smtp.starttls(context=context)
            return self._logged_in(smtp)
        except BaseException:
            smtp.close()
            raise

    def _logged_in(self, smtp: Connection) -> Connection:
        if self._server.user:
            password = self._server.password.get_secret_value() if self._server.password else ""
            smtp.login(self._server.user, password)
        return smtp

    def _composed(self, message: Outgoing) -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"] = self._server.sender, ", ".join(message.to)
        mail["Subject"], mail["Date"] = " ".join(message.subject.split()), formatdate()
        mail["Message-ID"] = self._name(message)
        mail["References"] = f"<{message.incident}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail

    def _name(self, message: Outgoing) -> str:
        """The same for every attempt, so that whoever gets it twice can tell."""
        return f"<{message.incident}.{message.id}@{self._domain}>"

    @property
    def _domain(self) -> str:
        return self._server.sender.rpartition("@")[2].strip("> ") or "localhost"


def _meaning(error: Exception, *, handing_over: bool) -> NotSent:
    """What a failure says. The server's codes are told, its words and the addresses are not."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            codes = sorted({code for code, _ in error.recipients.values()})
            said = ", ".join(str(code) for code in codes)
            return NotSent(f"The mail server takes none of the addresses ({said})", again=any(map(_for_now, codes)))
        case smtplib.SMTPNotSupportedError():
            return NotSent("The mail server offers no TLS, or no way to log in: it gets no mail")
        case ssl.SSLError():
            return NotSent(f"The mail server's certificate is not trusted, or TLS failed: {type(error).__name__}")
        case smtplib.SMTPResponseException():
            return NotSent(f"The mail server answered {error.smtp_code}", again=_for_now(error.smtp_code))
    return NotSent(f"The mail server was lost: {type(error).__name__}", again=True, in_doubt=handing_over)


def _for_now(code: int) -> bool:
    return 400 <= code < 500


def _part(smtp: smtplib.SMTP) -> None:
    """Say goodbye. What was taken stays taken, whatever comes of it."""
    with suppress(OSError, smtplib.SMTPException):
        smtp.quit()
    smtp.close()

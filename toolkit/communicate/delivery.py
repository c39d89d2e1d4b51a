"""Sends each delivery of a draft once: the intent is journaled, then it is sent, then what came of it is journaled.

A process that dies in between leaves an intent without an outcome. Such a delivery is 'perhaps sent': the provider is
asked whether it has it, and where it cannot tell, a person decides. Only a provider that takes the same message twice
for one is simply asked again.

Deliveries go side by side, each in time, each under a lock of its own: two people who send at once send once. Nothing
that goes wrong with a message is raised; it is what became of the delivery.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from filelock import FileLock, Timeout

from toolkit.adapters.notify import NotSent, Outgoing, Sender
from toolkit.clock import iso, utc_now
from toolkit.communicate.audiences import addresses_of
from toolkit.communicate.outbox import (
    FOLDER,
    REFUSED,
    SENDING,
    SENT,
    UNSURE,
    WAITING,
    By,
    Delivery,
    Draft,
    Fate,
    drafts,
    find,
    note,
)
from toolkit.communicate.templates import Kind
from toolkit.errors import ToolkitError, UsageError
from toolkit.incident import Incident
from toolkit.playbook import Playbook, Severity

ATTEMPTS = 4
PAUSES_S = (0.5, 1.0, 2.0)
ATTEMPT_WITHIN_S = 12.0  # whatever a provider does
SEND_WITHIN_S = 30.0  # all of it, repetitions and pauses included
EVENTS = {Kind.INITIAL: "trigger", Kind.UPDATE: "acknowledge", Kind.RESOLVED: "resolve"}
PAGER_SEVERITY = {Severity.P0: "critical", Severity.P1: "error", Severity.P2: "warning", Severity.P3: "info"}
GAP_OPTIONS = {"impact": "--public-impact", "resolution": "--resolution"}
DONE = (Fate.SENT, Fate.COPIED, Fate.WITHDRAWN)
T = TypeVar("T")


@dataclass(frozen=True)
class Post:
    """With what is sent: the senders that are there, the playbook that knows the addresses, and who sends.

    `sandbox`: the senders are a sandbox's. `within_s` bounds a whole call; `pause` waits between attempts.
    """

    playbook: Playbook
    senders: Mapping[By, Sender]
    actor: str
    sandbox: bool = False
    within_s: float = SEND_WITHIN_S
    pause: Callable[[float], None] = time.sleep


def send_draft(incident: Incident, draft: Draft, post: Post, *, only: Sequence[str] = (), again: bool = False) -> Draft:
    """Send what is not sent yet, to everybody or to `only` (audiences' names, or ids of deliveries).

    `again`: a person has looked and says that what was perhaps sent was not. Returns the draft as it is then. Raises
    UsageError for a drill's draft and for an audience that it does not have; nothing for what goes wrong on the way.
    """
    wanted = [each for each in draft.deliveries if not only or {each.id, each.audience.name} & set(only)]
    if draft.message.drill:  # nobody is told but whoever looks at the sandbox's own pages
        wanted = [each for each in wanted if post.sandbox and each.audience.by is By.NOTICE]
    if draft.message.drill and not wanted:
        raise UsageError(
            f"{draft.id} is a drill's: nothing of a drill is sent", state="nothing was sent", next="toolkit update show"
        )
    if unknown := set(only) - {word for each in wanted for word in (each.id, each.audience.name)}:
        known = ", ".join(each.audience.name for each in draft.deliveries)
        raise UsageError(f"{draft.id} is not for {', '.join(sorted(unknown))}", next=f"use {known}")
    deadline = time.monotonic() + post.within_s
    work = [_Sending(incident, draft, each, post, deadline, again) for each in wanted if each.fate not in DONE]
    threads = [threading.Thread(target=each.run, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline + ATTEMPT_WITHIN_S - time.monotonic()))
    return find(incident, draft.id)


def why_not(delivery: Delivery, missing: Mapping[By, str]) -> str:
    """Why a delivery is not sent, as far as that is known; '' where it is, or was not tried."""
    return missing.get(delivery.audience.by, "") if delivery.fate is Fate.DRAFTED else delivery.why


@dataclass
class _Sending:
    """One delivery on its way. It raises nothing: it runs in a thread of its own."""

    incident: Incident
    draft: Draft
    delivery: Delivery
    post: Post
    deadline: float
    again: bool

    def run(self) -> None:
        """Under the delivery's lock, from what the journal says now."""
        folder = self.incident.folder / FOLDER
        try:
            folder.mkdir(exist_ok=True)
            with FileLock(folder / f".{self.delivery.id}.lock", timeout=0, mode=0o600):
                self._send()
        except (Timeout, ToolkitError, OSError):  # somebody else sends it, or it cannot be journaled: then not sent
            return

    def _send(self) -> None:
        now = find(self.incident, self.draft.id)
        self.delivery = next(each for each in now.deliveries if each.id == self.delivery.id)
        if self.delivery.fate in DONE:
            return
        sender = self.post.senders.get(self.delivery.audience.by)
        if sender is None:
            return  # it is there to be copied, and `why_not` says why
        if (why := self._hindrance()) and self.delivery.why != why:
            self._note(REFUSED, why=why)
        if why:
            return
        perhaps = self.delivery.fate in (Fate.SENDING, Fate.UNSURE) and not sender.sends_twice_safely
        if not perhaps or (not self._there(sender) and self.again):
            self._attempt(sender)

    def _hindrance(self) -> str:
        """Why it cannot be sent at all; '' where it can."""
        audience = self.delivery.audience
        if gaps := self.draft.gaps_for(audience) if audience.outside else ():
            say = ", ".join(GAP_OPTIONS.get(gap, gap) for gap in gaps)
            return f"nothing with a gap goes outside: draft it again and say {say}"
        if not addresses_of(self.post.playbook, audience) and audience.by in (By.SLACK, By.MAIL):
            return "the playbook names no address for it: copy the text"
        return ""

    def _attempt(self, sender: Sender) -> None:
        for attempt in range(ATTEMPTS):
            self._note(SENDING)
            try:
                receipt = _in_time(lambda: sender.send(self._outgoing()))
            except NotSent as error:
                pause = self._after(error, attempt, sender)
            else:
                self._note(SENT, reference=receipt.reference)
                return
            if pause is None:
                return
            self.post.pause(pause)

    def _after(self, error: NotSent, attempt: int, sender: Sender) -> float | None:
        """Journal a failed attempt; the pause before the next, None when there is to be none now."""
        if error.in_doubt and not sender.sends_twice_safely:
            if not self._there(sender, because=error.what):
                self._note(UNSURE, why=error.what)
            return None
        if not error.again:
            self._note(REFUSED, why=error.what)
            return None
        backoff = PAUSES_S[min(attempt, len(PAUSES_S) - 1)] * random.uniform(1.0, 1.25)  # noqa: S311
        pause = max(backoff, error.after_s or 0.0)
        self._note(WAITING, why=error.what, not_before=iso(utc_now() + timedelta(seconds=pause)))
        last = attempt + 1 >= ATTEMPTS or time.monotonic() + pause >= self.deadline
        return None if last else pause

    def _there(self, sender: Sender, because: str = "") -> bool:
        """Ask the provider whether it has what was perhaps sent; journal that it has, or that nobody can tell."""
        try:
            receipt = _in_time(lambda: sender.look(self._outgoing()))
        except NotSent as error:
            self._note(UNSURE, why="; ".join(each for each in (because, error.what) if each))
            return not self.again
        if receipt is not None:
            self._note(SENT, reference=receipt.reference, why="it was there already")
            return True
        if not self.again and not because:
            self._note(UNSURE, why="it is not to be seen there")
        return False

    def _outgoing(self) -> Outgoing:
        audience, message = self.delivery.audience, self.draft.message
        known = [
            each.reference
            for draft in drafts(self.incident.journal.entries())
            for each in draft.deliveries
            if each.audience == audience and each.fate is Fate.SENT and each.reference
        ]
        return Outgoing(
            id=self.delivery.id,
            incident=self.incident.id,
            to=addresses_of(self.post.playbook, audience),
            subject=message.public_subject if audience.outside else message.subject,
            text=self.draft.text_for(audience),
            status=message.status,
            severity=PAGER_SEVERITY[message.severity],
            event=EVENTS[message.kind],
            reference=known[-1] if known and audience.by is By.STATUSPAGE else "",
        )

    def _note(self, kind: str, **told: object) -> None:
        note(self.incident, kind, self.draft, self.delivery, actor=self.post.actor, **told)


def _in_time(call: Callable[[], T]) -> T:
    """Its answer, for at most ATTEMPT_WITHIN_S seconds: socket timeouts begin again with every byte. Raises NotSent."""
    answers: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            answers.append(call())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ATTEMPT_WITHIN_S)
    if answers:
        return answers[0]
    if not failures:
        raise NotSent(f"There was no answer within {ATTEMPT_WITHIN_S:g} s", again=True, in_doubt=True)
    if isinstance(failures[0], NotSent):
        raise failures[0]
    raise NotSent(f"The sender failed: {type(failures[0]).__name__}", in_doubt=True)

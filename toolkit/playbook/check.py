"""What a playbook lacks: keys that are wrong, missing, still a placeholder, or past their date; each with its line.

A playbook that loads may still be of no use at night: `[Phone]` cannot be called. It looks at the file alone; whether
variables are set and hosts answer is asked elsewhere.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from toolkit.errors import UsageError
from toolkit.playbook.document import Playbook, read_content
from toolkit.playbook.places import Path as Key
from toolkit.playbook.places import line_of, lines_of

PLACEHOLDER = re.compile(
    r"""
    ^\[[^\]]*\]$ | \[(?:phone|name|e-?mail|slack|link|support|url|role|your)\b[^\]]*\]      # the document's own
    | ^<[^>]*>$ | \$\([^)]*\) | ^\?+$ | ^\.\.\.$ | ^…$
    | \b(?:todo|tbd|tba|fixme|xxx+|changeme|change-me|lorem\ ipsum|fill\ in|placeholder)\b
    | \bexample\.(?:com|org|net)\b | \.(?:example|invalid|test)\b | \b(?:your-company|acme)\b
    | ^\+?[\s\d-]*(?:555[\s-]?01\d\d|0{6,}|1234567)[\s\d-]*$
    """,
    re.IGNORECASE | re.VERBOSE,
)


class Fault(StrEnum):
    """What can be the matter with a key."""

    WRONG = "wrong"
    MISSING = "missing"
    PLACEHOLDER = "placeholder"
    OUT_OF_DATE = "out of date"

    @property
    def in_words(self) -> str:
        return "a placeholder" if self is Fault.PLACEHOLDER else self.value


@dataclass(frozen=True)
class KeyFault:
    """One key's fault. `line` is where it stands, or the table that it belongs in; `write`: what to put there."""

    key: str
    fault: Fault
    line: int
    what: str
    write: str

    def __str__(self) -> str:
        return f"{self.key} is {self.fault.in_words}: {self.what}. Write {self.write}."

    def row(self) -> dict[str, str | int]:
        return {
            "line": self.line,
            "key": self.key,
            "is": self.fault.value,
            "what": self.what,
            "write": self.write,
        }


TO_WRITE = {
    "phone": "a number that is answered at night, with its country, as +49 30 901820",
    "slack": "the handle or member id there, as @handle",
    "email": "an address that is read at night",
    "name": "who has this role now",
    "portal": "the address at which a ticket is opened",
    "sender": "the address that mail comes from",
    "customers": "the address of the list that customers' mail goes to",
    "links": "an https address",
    "next_review": "the day of the next review, after you have read all of it; last_updated too",
    "contacts_checked": "the day on which each contact was last called or written to, as 2026-11-24",
}
MAY_BE_EMPTY = ("state_table", "scheduler", "scheduler_last_run", "webhook", "incident_channel")
REACHED_BY = {"external": ("portal", "phone", "email"), "primary": ("phone",), "escalation": ("phone",)}
WHY = {
    "contacts": "nobody to call",
    "escalation": "nobody is paged when nobody acknowledges",
    "channels": "nothing is told anywhere",
    "communication": "no rule says who is told what",
    "drills": "nothing says when a drill is due",
    "links": "nobody finds the runbook, the dashboard, the status page, the documentation",
}


def check_playbook(file: Path, today: date) -> list[KeyFault]:
    """All faults, in the order of the file. UsageError when the file cannot be read."""
    try:
        text, content = read_content(file)
    except UsageError as error:
        if isinstance(error.__context__, tomllib.TOMLDecodeError):
            return [_not_toml(str(error.__context__))]
        raise
    found = list(_faults(content, file.resolve().parent, today))
    lines = lines_of(text)
    placed = [KeyFault(_shown(key), fault, line_of(key, lines), what, write) for key, fault, what, write in found]
    return sorted(placed, key=lambda each: each.line)


_Found = tuple[Key, Fault, str, str]


def _faults(content: Mapping[str, Any], folder: Path, today: date) -> Iterator[_Found]:
    try:
        Playbook.model_validate(dict(content) | {"folder": folder})
    except ValidationError as error:
        yield from (_typed(each) for each in error.errors())
    for key, value in _strings(content, ()):
        if not value.strip() and key[-1] not in MAY_BE_EMPTY:
            yield key, Fault.MISSING, "it is empty", _to_write(key)
        elif PLACEHOLDER.search(value):
            yield key, Fault.PLACEHOLDER, f"{value} was never filled in", _to_write(key)
    yield from _missing(content)
    yield from _dates(content.get("review"), today)


def _typed(error: ErrorDetails) -> _Found:
    key: Key = tuple(error["loc"])
    said = error["msg"][:1].lower() + error["msg"][1:]
    if error["type"] == "missing":
        return key, Fault.MISSING, "it must be there", _to_write(key)
    if error["type"] == "extra_forbidden":
        return key, Fault.WRONG, "no such key is known", "take it out, or mend its name"
    named = re.match(r"value error, ([\w.]+): (.*)", said)
    if named:  # held against other keys: the message names the one
        key, said = (*key, *(int(part) if part.isdigit() else part for part in named[1].split("."))), named[2]
    return key, Fault.WRONG, f"{_quoted(error.get('input'))}{said}", "a value that fits"


def _quoted(value: object) -> str:
    return f"{value!r}: " if isinstance(value, str | int | float | bool) else ""


def _strings(value: object, key: Key) -> Iterator[tuple[Key, str]]:
    match value:
        case str():
            yield key, value
        case dict():
            for name, inner in value.items():
                yield from _strings(inner, (*key, name))
        case list():
            for number, inner in enumerate(value):
                yield from _strings(inner, (*key, number))


def _missing(content: Mapping[str, Any]) -> Iterator[_Found]:
    """What a playbook can do without, and a night cannot."""
    for section, why in WHY.items():
        if not content.get(section):
            yield (section,), Fault.MISSING, why, f"a section [{section}]"
    contacts = content.get("contacts")
    for number, contact in enumerate(contacts if isinstance(contacts, list) else ()):
        ways = REACHED_BY.get(str(contact.get("tier")), ()) if isinstance(contact, dict) else ()
        if ways and not any(contact.get(way) for way in ways):
            role = contact.get("role", "somebody")
            yield ("contacts", number, ways[0]), Fault.MISSING, f"{role} cannot be reached", TO_WRITE[ways[0]]


def _dates(review: object, today: date) -> Iterator[_Found]:
    if not isinstance(review, dict):
        return
    due, read = review.get("next_review"), review.get("last_updated")
    if isinstance(due, date) and due < today:
        late = (today - due).days
        yield (
            ("review", "next_review"),
            Fault.OUT_OF_DATE,
            f"it was due on {due}, {late} days ago",
            _to_write(("next_review",)),
        )
    if isinstance(read, date) and read > today:
        yield ("review", "last_updated"), Fault.WRONG, f"{read} is yet to come", "the day on which it was last changed"
    checked, good_for = review.get("contacts_checked"), review.get("contacts_good_for_days", 31)
    key: Key = ("review", "contacts_checked")
    if checked is None:
        yield key, Fault.MISSING, "nobody says when the contacts were last tried", TO_WRITE["contacts_checked"]
    elif isinstance(checked, date) and isinstance(good_for, int) and checked + timedelta(days=good_for) < today:
        yield key, Fault.OUT_OF_DATE, f"they were last tried on {checked}", TO_WRITE["contacts_checked"]


def _to_write(key: Key) -> str:
    names = [part for part in reversed(key) if isinstance(part, str)]
    return next((TO_WRITE[name] for name in names if name in TO_WRITE), "what is meant")


def _shown(key: Key) -> str:
    """`contacts[2].phone`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in key]
    return "".join(parts).lstrip(".") or "the file"


def _not_toml(said: str) -> KeyFault:
    line = re.search(r"line (\d+)", said)
    return KeyFault("the file", Fault.WRONG, int(line[1]) if line else 1, f"it is not TOML: {said}", "what TOML allows")

"""Sections of the playbook as tables for somebody who needs them now. Each is read by itself.

A threshold that is wrong must not hide a telephone number. Nothing is asked of anybody: it answers offline.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toolkit.columns import in_columns
from toolkit.errors import UsageError
from toolkit.playbook.check import PLACEHOLDER
from toolkit.playbook.document import Playbook, read_content

NOT_FILLED_IN = "–"
TIERS = {"primary": "Primary on-call team", "escalation": "Escalation contacts", "external": "External contacts"}

Row = Mapping[str, str]


@dataclass(frozen=True)
class Block:
    """A heading and its rows; `note`: what to know of them."""

    title: str
    rows: Sequence[Row]
    note: str = ""

    def text(self) -> str:
        """Columns in line, nothing cut, nothing drawn: to be read aloud, to be copied."""
        if not self.rows:
            return f"{self.title.upper()}\n  nothing is named"
        lines = [self.title.upper(), in_columns(self.rows)]
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])


def show_section(file: Path, section: str) -> list[Block]:
    """The blocks of one section. UsageError when there is no such section, or it cannot be read."""
    if section not in SECTIONS:
        raise UsageError(f"The playbook has no section {section!r}", next=f"use one of {', '.join(SECTIONS)}")
    content = read_content(file)[1]
    return list(_SHOWN.get(section, _plain)(content, section))


def _read(content: Mapping[str, Any], section: str) -> Any:
    """One section, typed; what is not in the file is None."""
    if section not in content:
        return None
    kind: Any = Playbook.model_fields[section].annotation
    try:
        return TypeAdapter(kind).validate_python(content[section])
    except ValidationError as error:
        key = ".".join(map(str, (section, *error.errors()[0]["loc"])))
        raise UsageError(
            f"Section {section} of the playbook is wrong: {key}: {error.errors()[0]['msg']}",
            next="look with toolkit playbook check, or open the file",
        ) from None


def _contacts(content: Mapping[str, Any], section: str) -> Iterator[Block]:
    contacts = _read(content, section) or ()
    for tier, title in TIERS.items():
        ways = ("phone", "portal", "email") if tier == "external" else ("phone", "name", "slack", "email")
        rows = [
            {"role": each.role} | {way: _said(getattr(each, way)) for way in ways}
            for each in contacts
            if each.tier == tier
        ]
        silent = sum(not row["phone"].strip(f"{NOT_FILLED_IN} ") for row in rows)
        note = f"{silent} of {len(rows)} have no telephone number: toolkit playbook check" if silent else ""
        yield Block(title, rows, note)
    yield from _escalation(content, "escalation")


def _escalation(content: Mapping[str, Any], section: str) -> Iterator[Block]:
    rows = [
        {"page": ", ".join(level.roles)} | {str(s): f"{m:g} min" for s, m in level.after_minutes.items()}
        for level in _read(content, section) or ()
    ]
    columns = ["page", *dict.fromkeys(name for row in rows for name in row if name != "page")]
    yield Block(
        "When nobody acknowledged, page after", [{name: row.get(name, "never") for name in columns} for row in rows]
    )


def _severity(content: Mapping[str, Any], section: str) -> Iterator[Block]:
    rows = [
        {
            "": str(severity),
            "when": "\n".join(rule.definitions),
            "answer": f"within {rule.respond_within_minutes} min" if rule.respond_within_minutes else "at once",
            "update": f"every {rule.update_every_minutes} min",
        }
        for severity, rule in sorted((_read(content, section) or {}).items())
    ]
    yield Block("Incident classification", rows)


def _channels(content: Mapping[str, Any], section: str) -> Iterator[Block]:
    channels = _read(content, section)
    rooms = channels.slack.rooms.values() if channels and channels.slack else ()
    yield Block(
        "Slack channels",
        [{"channel": r.name, "for": r.purpose, "severities": ", ".join(r.severities)} for r in rooms],
    )
    others = [name for name in ("status_page", "mail", "pagerduty") if channels and getattr(channels, name)]
    yield Block("Other channels", [{"channel": name.replace("_", " ")} for name in others])


def _links(content: Mapping[str, Any], section: str) -> Iterator[Block]:
    links = _read(content, section) or {}
    yield Block("Links", [{"what": name.replace("_", " "), "where": _said(to)} for name, to in links.items()])


def _plain(content: Mapping[str, Any], section: str) -> Iterator[Block]:
    """Any other section: a row for each key."""
    _read(content, section)
    rows = [{"key": key, "value": _said(value)} for key, value in _flat(content.get(section, {}), "")]
    yield Block(section, rows)


def _flat(value: object, key: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for name, inner in value.items():
                yield from _flat(inner, f"{key}.{name}" if key else name)
        case list() if any(isinstance(each, dict) for each in value):
            for number, inner in enumerate(value):
                yield from _flat(inner, f"{key}[{number}]")
        case list():
            yield key, ", ".join(map(str, value))
        case _:
            yield key, str(value)


def _said(value: str) -> str:
    return NOT_FILLED_IN if not value or PLACEHOLDER.search(value) else value


_SHOWN: Mapping[str, Callable[[Mapping[str, Any], str], Iterator[Block]]] = {
    "contacts": _contacts,
    "escalation": _escalation,
    "severity": _severity,
    "channels": _channels,
    "links": _links,
}
SECTIONS = tuple(name for name in Playbook.model_fields if name != "folder")

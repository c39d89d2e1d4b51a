"""References that a reader can follow: `[J12]` in the text leads to a line of the appendix that shows entry 12.

It remembers what was cited, so that the appendix lists exactly that. It also turns evidence into Markdown that says
what it says: nothing in it is taken for markup, nothing private passes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from toolkit.analysis import fields, words
from toolkit.analysis.discretion import UNTOLD_FIELDS, discreet
from toolkit.analysis.references import Reference, Source
from toolkit.analysis.sources import Evidence
from toolkit.analysis.telling import role
from toolkit.journal import Entry

MOST_CHARACTERS = 420
NOT_SHOWN = "(not in the evidence)"
_MARKUP = re.compile(r"([\\*\[\]<>|~])")
_EDGE_UNDERSCORE = re.compile(r"(?<!\w)_|_(?!\w)")
_LINE_STARTS = re.compile(r"^(\s*)([#>+-]|\d+[.)])(?=\s)")


@dataclass(frozen=True)
class CitedItem:
    """One line of the appendix."""

    label: str
    at: datetime | None
    who: str
    what: str
    text: str


def markdown(text: object) -> str:
    """Evidence as one line of Markdown text. Code between pairs of backticks stays code."""
    line = " ".join(discreet(str(text)).split())
    parts = line.split("`")
    if len(parts) % 2 == 0:
        return _escaped(line.replace("`", "'"))
    plain = [_escaped(part) if place % 2 == 0 else part.replace("|", "\\|") for place, part in enumerate(parts)]
    return "`".join(plain)


def _escaped(text: str) -> str:
    text = _MARKUP.sub(r"\\\1", text)
    text = _EDGE_UNDERSCORE.sub(r"\\_", text)
    return _LINE_STARTS.sub(r"\1\\\2", text.replace("&", "&amp;"))


class Citations:
    """Makes links, and keeps the list of what they lead to."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._entries: Mapping[Source, Mapping[int, Entry]] = {
            Source.JOURNAL: {entry.seq: entry for entry in evidence.journal},
            Source.FACILITATOR: {entry.seq: entry for entry in evidence.facilitator},
        }
        self._cited: set[tuple[Source, int]] = set()

    def __call__(self, references: Reference | Iterable[Reference]) -> str:
        """`[[J12](#J12), [R3](#R3)–[R9](#R9)]`; '' without references."""
        several = (references,) if isinstance(references, Reference) else tuple(dict.fromkeys(references))
        return f"[{', '.join(self._link(reference) for reference in several)}]" if several else ""

    def _link(self, reference: Reference) -> str:
        if not reference.ends:
            return f"[{reference.source}](#{reference.source})"
        self._cited |= {(reference.source, end) for end in reference.ends}
        return "–".join(f"[{reference.source}{end}](#{reference.source}{end})" for end in reference.ends)

    def items(self) -> list[CitedItem]:
        """What was cited so far, by source and position."""
        order = list(Source)
        return [self._item(*each) for each in sorted(self._cited, key=lambda each: (order.index(each[0]), each[1]))]

    def _item(self, source: Source, position: int) -> CitedItem:
        label = f"{source}{position}"
        if source in self._entries:
            entry = self._entries[source].get(position)
            if entry is None:
                return CitedItem(label, None, "", "", NOT_SHOWN)
            return CitedItem(label, entry.at, role(entry.actor), entry.kind, _data(entry.data))
        frame = self._evidence.log if source is Source.LOG else self._evidence.requests
        rows = frame[frame["position"] == position] if frame is not None else pd.DataFrame()
        if rows.empty:
            return CitedItem(label, None, "", "", NOT_SHOWN)
        said = {str(key): value for key, value in rows.iloc[0].dropna().items()}
        who = "service" if source is Source.LOG else "traffic"
        return CitedItem(label, said["at"].to_pydatetime(), who, "request", _request(said))


def _data(data: Mapping[str, Any]) -> str:
    """An entry's data in words, shortened; who did it by name is left out."""
    text = discreet(fields.plain(_public(data)))
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS].rstrip()} … ({len(text) - MOST_CHARACTERS:,} more characters)"


def _public(value: Any) -> Any:
    """The value without fields that a report does not repeat, however deep they lie."""
    if isinstance(value, Mapping):
        return {key: _public(inner) for key, inner in value.items() if key not in UNTOLD_FIELDS}
    return [_public(inner) for inner in value] if isinstance(value, list) else value


def _request(said: Mapping[str, Any]) -> str:
    """A request in words: what was asked, what came of it, where."""
    parts = [f"{said.get('method', '?')} {said.get('path', '?')}: {said.get('status', 'no answer')}"]
    parts.append(words.milliseconds(said.get("ms")))
    for key in ("error", "error_type", "sqlstate", "constraint", "message", "deployment"):
        if key in said:
            parts.append(f"{key.replace('_', ' ')} {said[key]}" if key != "message" else str(said[key]))
    return discreet(", ".join(parts))

"""Writes the post-mortem: Markdown for the repository, one self-contained HTML file, the figures beside them.

The template is the playbook's, to the letter; the sentences are `statements`. Writing again overwrites all of it, from
the same evidence with the same words. It measures nothing and adds nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from toolkit.analysis import Analysis, words
from toolkit.analysis.execution import CheckRow
from toolkit.analysis.phases import DURATIONS
from toolkit.errors import UsageError
from toolkit.redaction import redact
from toolkit.report import figures
from toolkit.report.canvas import Picture
from toolkit.report.checklist_statements import ChecklistStatements
from toolkit.report.citations import Citations, markdown
from toolkit.report.communication_statements import CommunicationStatements
from toolkit.report.on_call_statements import OnCallStatements
from toolkit.report.page import render_page
from toolkit.report.rehearsal_statements import RehearsalStatements
from toolkit.report.response_statements import ResponseStatements
from toolkit.report.statements import SOURCE_NAMES, Statements

MARKDOWN_FILE, HTML_FILE, FIGURES_FOLDER = "postmortem.md", "postmortem.html", "figures"
_ORDER = {"fail": 0, "unknown": 1, "pass": 2}


@dataclass(frozen=True)
class Report:
    """Where the documents are."""

    markdown: Path
    html: Path
    figures: tuple[Path, ...]


def write_postmortem(analysis: Analysis, folder: Path | None = None) -> Report:
    """Write the documents into `folder`, by default the incident's own.

    Raises UsageError when there is no evidence at all, OSError when it cannot be written.
    """
    if not any(state.items for state in analysis.evidence.states):
        raise UsageError(
            f"{analysis.folder} holds no evidence: no journal, no requests, no log",
            state="nothing was written",
            next="name an incident's folder",
        )
    folder = folder or analysis.folder
    pictures = (figures.overview(analysis), figures.swimlanes(analysis))
    text = render_markdown(analysis, pictures, page=False)
    html = render_page(analysis, render_markdown(analysis, pictures, page=True), pictures)
    files = tuple(figures.save(picture, folder / FIGURES_FOLDER) for picture in pictures)
    _write(folder / MARKDOWN_FILE, text)
    _write(folder / HTML_FILE, html)
    return Report(folder / MARKDOWN_FILE, folder / HTML_FILE, files)


def render_markdown(analysis: Analysis, pictures: tuple[Picture, Picture], *, page: bool) -> str:
    """The post-mortem as Markdown. For the `page` the timeline is a table; else it is the playbook's list."""
    citations = Citations(analysis.evidence)
    overview, lanes = pictures
    impact = analysis.impact
    text = _template(citations).render(
        analysis=analysis,
        say=Statements(analysis, citations),
        did=ResponseStatements(analysis, citations),
        lists=ChecklistStatements(analysis, citations),
        tried=RehearsalStatements(analysis, citations),
        told=CommunicationStatements(analysis, citations),
        had=OnCallStatements(analysis, citations),
        overview=overview,
        lanes=lanes,
        page=page,
        durations=DURATIONS,
        names=SOURCE_NAMES,
        failures=(impact.logged or impact.failures) if impact else (),
        cited=citations.items,
    )
    return redact(_without_empty_runs(text))


def _template(citations: Citations) -> Any:
    environment = Environment(  # noqa: S701 - it makes Markdown; the page escapes what it is made of
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    filters: dict[str, Callable[..., Any]] = {
        "md": markdown,
        "alt": markdown,
        "cite": citations,
        "clock": words.clock,
        "day": words.day,
        "share": words.share,
        "ms": words.milliseconds,
        "amount": words.amount,
        "took": lambda seconds: words.duration(seconds) if seconds is not None else "–",
        "sentence": words.sentence,
        "sentence_case": lambda text: text[:1].upper() + text[1:],
        "worst_first": _worst_first,
        "unit": _with_unit,
    }
    environment.filters.update(filters)
    source = resources.files("toolkit.report.templates").joinpath("postmortem.md.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _worst_first(checks: Iterable[CheckRow]) -> list[CheckRow]:
    return sorted(checks, key=lambda check: _ORDER.get(check.outcome, 1))


def _with_unit(name: str) -> str:
    """A field's name for people: `p95_ms` is p95 (ms)."""
    for suffix, unit in (("_per_s", " per second"), ("_ms", " (ms)"), ("_s", " (s)")):
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " ") + unit
    return name.replace("_", " ")


def _without_empty_runs(text: str) -> str:
    """At most one empty line in a row, none at the end."""
    lines: list[str] = []
    for line in (each.rstrip() for each in text.splitlines()):
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).rstrip() + "\n"


def _write(file: Path, text: str) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)

"""The post-mortem as one HTML file that needs nothing else: no script, no font, no address outside of itself.

The body is the Markdown, rendered with raw HTML switched off, so that evidence cannot become markup. What is added: key
figures on top, a table of contents, pictures inside the file, anchors of the appendix, symbols that styles can find.
"""

import itertools
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token

from toolkit.analysis import Analysis, words
from toolkit.analysis.phases import Mark
from toolkit.redaction import redact
from toolkit.report.canvas import Picture

_ANCHOR = re.compile(r"&lt;a id=&quot;([A-Z]\d*)&quot;&gt;&lt;/a&gt;")
_CITATION = re.compile(r'<a href="#([JFLR]\d*)">')
_PICTURE = re.compile(r'<p><img src="figures/(\w+)\.svg" alt="([^"]*)" /></p>')
_TEXT = re.compile(r">[^<]+<")
_LONG_NAME = re.compile(r"(?<=\w{6})([_/])(?=\w{4})")
_TASK = re.compile(r"<li>\[ \] ")
_QUOTES = (("Open question:", "question"), ("This was a drill.", "drill"), ("How to read this.", "reading"))
_SYMBOLS = (("✓", "pass"), ("✗", "fail"), ("?", "unknown"))


@dataclass(frozen=True)
class Tile:
    """A key figure. `note` says from where to where it counts."""

    name: str
    value: str
    note: str = ""
    alarming: bool = False


@dataclass(frozen=True)
class Heading:
    anchor: str
    title: str


def render_page(analysis: Analysis, markdown: str, pictures: Sequence[Picture]) -> str:
    """The whole file."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    title, contents = _name_headings(tokens)
    _name_cells(tokens)
    body = _finish(parser.renderer.render(tokens, parser.options, {}))
    heading, _, body = body.partition("</h1>")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_read("postmortem.html.j2"))
    text = page.render(
        title=title,
        heading=heading.partition(">")[2],
        contents=contents,
        tiles=tiles(analysis),
        style=_read("postmortem.css"),
        body=body,
    )
    by_name = {picture.name: picture for picture in pictures}
    return _PICTURE.sub(lambda found: _figure(by_name[found[1]]), redact(text))


def tiles(analysis: Analysis) -> list[Tile]:
    """The key figures, each measured or said not to be."""
    phases, impact, response = analysis.phases, analysis.impact, analysis.response
    opening, accounting = response.opening, response.accounting
    window = (impact.window("during") or impact.windows[0]) if impact else None
    lost = accounting.counts.get("lost") if accounting else None
    failed = f"of {window.requests:,} ({words.share(window.error_rate)})" if window else ""
    return [
        Tile("Severity", opening.worst if opening else words.NOT_MEASURED),
        Tile("Duration", words.duration(phases.seconds(Mark.BEGAN, Mark.RESOLVED)), "impact began to resolved"),
        Tile("Time to detect", words.duration(phases.duration("time to detect")), "after impact began"),
        Tile("Time to mitigate", words.duration(phases.duration("time to mitigate")), "after impact began"),
        Tile("Time to resolve", words.duration(phases.duration("time to resolve")), "after impact began"),
        Tile("Failed requests", words.amount(window.failed if window else None), failed),
        Tile("Events lost", words.amount(lost), "acknowledged, then missing", alarming=bool(lost)),
    ]


def _name_headings(tokens: Sequence[Token]) -> tuple[str, list[Heading]]:
    """Give each heading an anchor. Returns the title and the headings of the second level."""
    title, contents = "Post-Mortem", []
    for opening, inline in itertools.pairwise(tokens):
        if opening.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or ())
        anchor = re.sub(r"\W+", "-", text.lower()).strip("-")
        opening.attrSet("id", anchor)
        if opening.tag == "h1":
            title = text
        elif opening.tag == "h2":
            contents.append(Heading(anchor, text))
    return title, contents


def _name_cells(tokens: Sequence[Token]) -> None:
    """Tell each cell its column's name, so that a narrow screen can show a row as a card."""
    names: list[str] = []
    table, place = tokens[0], 0
    for opening, inline in itertools.pairwise(tokens):
        match opening.type:
            case "table_open":
                table, names = opening, []
            case "tr_open":
                place = 0
            case "th_open":
                names.append(inline.content)
                if inline.content == "#":
                    table.attrSet("class", "timeline")
                opening.attrSet("scope", "col")
            case "td_open":
                opening.attrSet("data-label", names[place] if place < len(names) else "")
                symbol = next((name for sign, name in _SYMBOLS if inline.content.startswith(sign)), None)
                if symbol:
                    opening.attrSet("class", symbol)
                place += 1


def _finish(body: str) -> str:
    """Put in what Markdown has no words for."""
    body = _TEXT.sub(lambda found: _LONG_NAME.sub(r"\1<wbr>", found[0]), body)
    body = _ANCHOR.sub(r'<a id="\1" class="anchor"></a>', body)
    body = _CITATION.sub(r'<a class="cite" href="#\1">', body)
    body = _TASK.sub('<li class="task"><span aria-hidden="true">☐</span> ', body)
    for words_, name in _QUOTES:
        body = body.replace(
            f"<blockquote>\n<p><strong>{words_}</strong>",
            f'<blockquote class="{name}">\n<p><strong>{words_}</strong>',
        )
    return body.replace("<table", '<div class="table"><table').replace("</table>", "</table></div>")


def _figure(picture: Picture) -> str:
    """Both widths inside the file; the browser takes the one that fits."""
    alt, title = escape(picture.alt), escape(picture.title)
    return (
        f'<figure><picture><source media="(max-width: 640px)" srcset="{_inline(picture.narrow_svg)}">'
        f'<img src="{_inline(picture.svg)}" alt="{alt}"></picture>'
        f"<figcaption>{title}</figcaption></figure>"
    )


def _inline(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _read(name: str) -> str:
    return resources.files("toolkit.report.templates").joinpath(name).read_text(encoding="utf-8")

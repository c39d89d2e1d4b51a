"""The post-mortem says what the evidence says, cites it, and nothing else; and it is a document one can send around."""

import re
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from incident_folder import STEPS, Pen, Truth, make_folder, write_journal

from toolkit.analysis import analyse
from toolkit.analysis.discretion import discreet
from toolkit.analysis.references import Source
from toolkit.errors import UsageError
from toolkit.playbook import Playbook, load_playbook
from toolkit.redaction import keep_secret
from toolkit.report import Report, figures, write_postmortem
from toolkit.report.canvas import Picture, spread
from toolkit.report.citations import markdown
from toolkit.report.page import render_page

CITATION = re.compile(r"\[([JFLRE]\d*)\]\(#\1\)")
EXTRA_HEADINGS = ["Trigger", "Detection", "What went well", "What went wrong", "Where we got lucky", "Evidence"]
OWN_WORDS = ("not measured", "[Action item", "No decision was journaled")


@pytest.fixture(scope="module")
def playbook() -> Playbook:
    return load_playbook(Path(__file__).parents[2] / "playbook.toml")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, playbook: Playbook) -> Report:
    """The report of a folder with every source, for tests that only read it."""
    folder = tmp_path_factory.mktemp("whole") / "20261124T030000Z-breaking-migration-7"
    make_folder(folder)
    return write_postmortem(analyse(folder, playbook))


Write = Callable[[], str]


@pytest.fixture
def write(tmp_path: Path, playbook: Playbook, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the report of what is in `tmp_path`, and returns its Markdown. Pictures, the slow part, are left out."""
    for name in ("overview", "swimlanes"):
        drawn = Picture(name, name, f"The {name}", "<svg/>", "<svg/>")
        monkeypatch.setattr(figures, name, lambda _analysis, drawn=drawn: drawn)

    def written() -> str:
        return write_postmortem(analyse(tmp_path, playbook)).markdown.read_text()

    return written


class Page(HTMLParser):
    """What a test wants to know of an HTML file."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def links(self) -> list[str]:
        return [attributes["href"] for attributes in self.every("a") if attributes.get("href")]


def body(markdown_: str) -> str:
    """All but the appendix."""
    return markdown_.partition("\n## Evidence\n")[0]


# the template ---------------------------------------------------------------------------------------------------------


def test_headings_and_fields_are_the_playbooks_to_the_letter(whole: Report) -> None:
    template = (Path(__file__).parent / "postmortem_template.md").read_text()
    text = whole.markdown.read_text()
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings == [*re.findall(r"^## (.+)$", template, re.M), *EXTRA_HEADINGS]
    assert text.startswith("# Post-Mortem: ") and "[Incident Title]" not in text
    fields = re.findall(r"^- \*\*([^*\[]+)\*\*:", template, re.M)
    assert len(fields) == 7
    assert [f for f in re.findall(r"^- \*\*([A-Z][^*]+)\*\*:", text, re.M) if not f[0].isdigit()] == fields
    for line in re.findall(r"^- \[ \] .+$", template, re.M):
        assert line in text


def test_the_template_in_the_tests_is_that_of_the_playbook(whole: Report) -> None:
    """Where the playbook's own text lies beside the repository, the copy must be the same."""
    shared = Path(__file__).parents[3] / "shared" / "playbook.md"
    if not shared.exists():
        pytest.skip("the playbook's text is not here")
    assert (Path(__file__).parent / "postmortem_template.md").read_text().strip() in shared.read_text()


def test_the_timeline_is_a_list_of_times_and_events(whole: Report) -> None:
    timeline = whole.markdown.read_text().partition("## Timeline")[2].partition("### Phases")[0]
    times = re.findall(r"^- \*\*(\d\d:\d\d:\d\d\.\d)\*\*: ", timeline, re.M)
    assert len(times) > 20 and times == sorted(times)


# evidence -------------------------------------------------------------------------------------------------------------


def test_every_citation_leads_to_a_line_of_the_appendix(whole: Report) -> None:
    text, html = whole.markdown.read_text(), whole.html.read_text()
    cited = set(CITATION.findall(text))
    assert len(cited) > 30 and {label[0] for label in cited} == set(Source)
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids)), "an id stands twice"
    links = page.links()
    assert {f"#{label}" for label in cited} <= set(links)
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    for label in cited:
        assert f'<a id="{label}"></a>' in text


def test_what_is_cited_is_in_the_source(whole: Report) -> None:
    text = whole.markdown.read_text()
    lines = (whole.markdown.parent / "journal.jsonl").read_text().splitlines()
    for label, moment, _, kind in re.findall(r'<a id="(J\d+)"></a>\S+ \| (\S+) \| (\w+) \| ([\w.]+) \|', text):
        entry = lines[int(label[1:]) - 1]
        assert f'"kind": "{kind}"' in entry
        assert moment[:7] in entry, "a moment is rounded to a tenth, not more"
    requests = pd.read_parquet(whole.markdown.parent / "requests.parquet")
    for label, said in re.findall(r'<a id="R(\d+)"></a>R\d+ \| \S+ \| traffic \| request \| (.+) \|', text):
        row = requests.iloc[int(label) - 1]
        status = "no answer" if pd.isna(row["status"]) else str(row["status"])
        assert f"{row['method']} {row['path']}: {status}" in said
    assert "not in the evidence" not in text.partition("What is cited above:")[2]


def _is_prose(line: str) -> bool:
    return bool(line) and not line.startswith(("#", ">", "|", "!", "   -")) and not re.match(r"\d\.", line)


def test_no_statement_stands_without_evidence(whole: Report) -> None:
    """A line cites, or says that nothing was measured, or introduces a table or list that cites."""
    for line in body(whole.markdown.read_text()).splitlines():
        if _is_prose(line) and not any(word in line.lower() for word in map(str.lower, OWN_WORDS)):
            introduces = line.endswith(":") or line.startswith(("All times", "No failed step"))
            assert introduces or CITATION.search(line), line


@pytest.mark.parametrize(
    ("missing", "gone", "said"),
    [
        ("requests.parquet", r"\[R\d*\]", "requests.parquet | absent"),
        ("service.log", r"\[L\d+\]|23514 on|SQLSTATE", "service.log | absent"),
        ("facilitator.jsonl", r"This was a drill|\[F\d+\]|seed 7", "nothing accounts for what was acknowledged"),
        ("journal.jsonl", r"\[J\d+\]|P0|Migration 9 broke|dpl_build8, then", "the journal holds no assessment"),
    ],
)
def test_what_a_missing_source_told_is_not_stated(tmp_path, write, missing: str, gone: str, said: str) -> None:
    make_folder(tmp_path)
    assert re.search(gone, write())
    (tmp_path / missing).unlink()
    text = write()
    assert not re.search(gone, text) and said in text
    assert "None" not in text and "nan" not in text.lower().replace("finance", "")


def test_without_any_record_of_requests_nothing_is_said_of_them(tmp_path: Path, playbook: Playbook) -> None:
    make_folder(tmp_path)
    (tmp_path / "requests.parquet").unlink()
    (tmp_path / "service.log").unlink()
    text = write_postmortem(analyse(tmp_path, playbook)).markdown.read_text()
    assert "- **Impact**: not measured" in text and "Error rate |" not in text
    assert "error rate and latency were not measured" in text.lower()


def test_a_journal_alone_makes_a_report_of_questions(tmp_path: Path, write: Write) -> None:
    pen = Pen(tmp_path / "journal.jsonl")
    pen(3, "monitor", "incident.opened", {"severity": "P1", "reasons": ["Error rate >10%"]})
    text = write()
    for said in ("P1: Error rate", "Duration**: not measured", "no plan", "no verification", "no assessment"):
        assert said in text
    assert text.count("**Open question:**") >= 10


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("journal.jsonl", '"value": 0.218', '"value": 0.437'),
        ("journal.jsonl", '"bytes": 4310223', '"bytes": 7310223'),
        ("journal.jsonl", '"severity": "P0"', '"severity": "P2"'),
        ("facilitator.jsonl", '"lost": {"count": 0', '"lost": {"count": 3'),
    ],
)
def test_a_changed_figure_changes_the_report(tmp_path, write, file: str, before: str, after: str) -> None:
    make_folder(tmp_path)
    text = write()
    evidence = (tmp_path / file).read_text()
    assert before in evidence
    (tmp_path / file).write_text(evidence.replace(before, after))
    changed = write()
    assert changed != text and "was changed" in changed, "and the broken chain is told"


def test_changed_requests_change_the_counts(tmp_path: Path, write: Write) -> None:
    truth = make_folder(tmp_path)
    frame = pd.read_parquet(tmp_path / "requests.parquet")
    assert f"{truth.failed:,} of" in write()
    failed = frame.index[frame["status"] == 500][5:125:6]
    frame.loc[failed, "status"] = 200
    frame.to_parquet(tmp_path / "requests.parquet")
    assert f"{truth.failed - 20:,} of" in write()


def test_lost_events_are_shouted(tmp_path: Path, playbook: Playbook) -> None:
    make_folder(tmp_path, truth=Truth(accounting={"attempted": 90, "acknowledged": 88, "lost": 2, "duplicated": 0}))
    report = write_postmortem(analyse(tmp_path, playbook))
    assert "**Not every event is where it belongs**: 2 lost" in report.markdown.read_text()
    assert "No acknowledged event was lost" not in report.markdown.read_text()
    assert 'class="tile alarming"' in report.html.read_text()


def test_an_incomplete_accounting_proves_nothing(tmp_path: Path, write: Write) -> None:
    make_folder(tmp_path, truth=Truth(accounting={"acknowledged": 88}))
    assert "that nothing was lost is not proved" in write()


def test_a_step_that_failed_is_told_as_such(tmp_path: Path, write: Write) -> None:
    make_folder(tmp_path)
    name, what, _, _ = STEPS[1]
    pen = Pen(tmp_path / "journal.jsonl")
    pen(79, "runner", "step.failed", {"step": name, "what": what, "error": "lock timeout", "state": "unchanged"})
    text = write()
    assert "✗ FAILED" in text and f"Step failed: {what}: lock timeout" in text
    assert "Every step of the plan was carried out" not in text


def test_unknown_is_not_passed(whole: Report) -> None:
    text = whole.markdown.read_text()
    assert "Outcome: **unknown**. 4 passed, 0 failed, 1 unknown; unknown is not passed" in text
    rows = re.findall(r"^\| (✓ pass|✗ FAIL|\? unknown) \|", text, re.M)
    assert rows == ["? unknown", *["✓ pass"] * 4]


def test_a_drill_says_so_and_an_incident_does_not(tmp_path: Path, whole: Report, write: Write) -> None:
    text = whole.markdown.read_text()
    assert "**This was a drill.** Scenario `breaking-migration`, seed 7" in text
    assert "Of 1,496 acknowledged events none was lost, duplicated or unexpected" in text
    make_folder(tmp_path, drill=False)
    assert "drill" not in body(write()).lower().replace("the drill facilitator's", "").replace("f 's", "")


# people ---------------------------------------------------------------------------------------------------------------


def test_no_secret_no_name_no_private_value_is_written(tmp_path: Path, playbook: Playbook) -> None:
    keep_secret("sekrit-token-123")
    make_folder(tmp_path, operator="alice")
    pen = Pen(tmp_path / "journal.jsonl")
    said = "user_8812 wrote from ann@example.com about mem_d_17, token sekrit-token-123"
    pen(82, "alice", "note.taken", {"note": said, "user_id": "user_8813", "payload": {"card": "4242"}, "by": "alice"})
    pen(83, "alice", "decision.made", {"what": said, "why": said, "by": "alice"})
    report = write_postmortem(analyse(tmp_path, playbook))
    for file in (report.markdown, report.html, *report.figures):
        text = file.read_text()
        for private in ("8812", "8813", "ann@example", "mem_d_17", "4242", "alice", "sekrit"):
            assert private not in text, (file.name, private)


def test_evidence_cannot_become_markup(tmp_path: Path, playbook: Playbook) -> None:
    write_journal(tmp_path, Truth(), operator="responder")
    hostile = "<script>alert(1)</script> [link](http://evil.example) | **bold** ![x](http://evil.example/x.png) `a"
    Pen(tmp_path / "journal.jsonl")(81, "responder", "decision.made", {"what": hostile, "why": hostile})
    report = write_postmortem(analyse(tmp_path, playbook))
    page = Page(report.html.read_text())
    assert not page.every("script")
    assert all(link.startswith("#") for link in page.links())
    assert all(attributes["src"].startswith("data:") for attributes in page.every("img"))
    assert "&lt;script&gt;" in report.html.read_text()


def test_the_page_takes_no_markup_from_markdown(whole: Report, playbook: Playbook) -> None:
    """The second wall, should a text ever come through unescaped."""
    html = render_page(
        analyse(whole.markdown.parent, playbook), "# Title\n\n<script>a</script> <b onclick=x>y</b>\n", ()
    )
    assert not Page(html).every("script") and not Page(html).every("b")


def test_a_secret_in_a_log_is_masked_where_it_is_read() -> None:
    keep_secret("hunter2-hunter2")
    assert (
        discreet("password hunter2-hunter2, postgresql://u:pw12345@host/db")
        == "password ***, postgresql://u:***@host/db"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a | b", r"a \| b"),
        ("recovery_cases_known", "recovery_cases_known"),
        ("`error_rate` rose", "`error_rate` rose"),
        ("one ` alone", "one ' alone"),
        ("# no heading", r"\# no heading"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_stays_text_in_markdown(text: str, expected: str) -> None:
    assert markdown(text) == expected


# the page -------------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself(whole: Report) -> None:
    html = whole.html.read_text()
    page = Page(html)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, name)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert "@import" not in html and "url(" not in html and "http" not in re.sub(r"base64,[\w+/=]+", "", html)


def test_pictures_have_words_and_are_inside(whole: Report) -> None:
    page = Page(whole.html.read_text())
    assert len(page.every("img")) == 2 and len(page.every("source")) == 2
    for picture in page.every("img"):
        assert len(picture["alt"]) > 100
        svg = b64decode(picture["src"].partition("base64,")[2]).decode()
        assert svg.startswith("<?xml") and "</svg>" in svg
    for alt in re.findall(r"!\[(.*)\]\(figures/\w+\.svg\)", whole.markdown.read_text()):
        assert len(alt) > 100
    assert all(file.exists() for file in whole.figures)


def test_the_page_serves_screens_paper_and_dark_rooms(whole: Report) -> None:
    html = whole.html.read_text()
    for said in ('name="viewport"', "@media print", "prefers-color-scheme: dark", "max-width: 640px", 'lang="en"'):
        assert said in html
    page = Page(html)
    assert len(page.every("nav")) == 1 and len(page.every("h1")) == 1
    assert all("data-label" in attributes for attributes in page.every("td"))


def test_tiles_say_not_measured_instead_of_nothing(tmp_path: Path, playbook: Playbook) -> None:
    Pen(tmp_path / "journal.jsonl")(3, "monitor", "incident.opened", {"severity": "P1", "reasons": []})
    html = write_postmortem(analyse(tmp_path, playbook)).html.read_text()
    tiles = dict(re.findall(r"<dt>(.+?)</dt>\s*<dd>([^<]+)", html))
    assert tiles.pop("Severity") == "P1"
    assert set(tiles.values()) == {"not measured"} and len(tiles) == 6


# writing --------------------------------------------------------------------------------------------------------------


def test_the_same_evidence_gives_the_same_documents(tmp_path: Path, playbook: Playbook) -> None:
    make_folder(tmp_path)
    report = write_postmortem(analyse(tmp_path, playbook))
    files = (report.markdown, report.html, *report.figures)
    before = [file.read_bytes() for file in files]
    write_postmortem(analyse(tmp_path, playbook))
    assert [file.read_bytes() for file in files] == before
    assert not list(tmp_path.rglob("*.partial"))


def test_an_empty_folder_is_no_incident(tmp_path: Path, playbook: Playbook) -> None:
    with pytest.raises(UsageError, match="holds no evidence"):
        write_postmortem(analyse(tmp_path, playbook))
    assert not list(tmp_path.iterdir())


def test_pictures_leave_no_setting_behind(tmp_path: Path, playbook: Playbook) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    make_folder(tmp_path)
    picture = figures.overview(analyse(tmp_path, playbook))
    assert dict(matplotlib.rcParams) == before
    assert picture.svg != picture.narrow_svg and picture.alt


@pytest.mark.parametrize("positions", [[5.0] * 10, [0.0, 0.1, 9.9, 10.0], [1, 2, 2.1, 2.2, 9], [], [3.0]])
def test_markers_never_touch_and_stay_in_view(positions: list[float]) -> None:
    placed = spread(positions, 0.8, 0.0, 10.0)
    assert placed == sorted(placed) and len(placed) == len(positions)
    assert all(-1e-9 <= place <= 10 + 1e-9 for place in placed)
    assert all(b - a >= 0.8 - 1e-9 for a, b in pairwise(placed))


def test_more_markers_than_room_share_the_room() -> None:
    placed = spread([5.0] * 30, 0.8, 0.0, 10.0)
    gaps = [b - a for a, b in pairwise(placed)]
    assert min(gaps) == pytest.approx(10 / 29)


def test_the_report_counts_the_updates_that_were_made_and_missed(tmp_path: Path, playbook: Playbook) -> None:
    """P0: one promised every 15 s in a sandbox. A draft at 14 s keeps the first; none is there at 29 s."""
    folder = tmp_path / "20261124T030000Z-breaking-migration-7"
    make_folder(folder)
    (folder / "journal.jsonl").unlink()
    pen = Pen(folder / "journal.jsonl")
    pen(0, "monitor", "incident.opened", {"severity": "P0", "reasons": ["it is down"]})
    told = {"kind": "initial", "subject": "", "public_subject": "", "status": "investigating", "severity": "P0"}
    told |= {"inside": "", "outside": "", "drill": True}
    audience = {"name": "#incidents", "by": "slack", "key": "incidents", "outside": False}
    pen(14, "drill", "update.drafted", {"update": "1-initial", **told, "audiences": [audience]})
    pen(30, "monitor", "update.missed", {"due": "2026-11-24T03:00:29+00:00", "severity": "P0"})
    pen(31, "drill", "incident.resolved", {"from": "mitigated", "why": "well"})
    text = write_postmortem(analyse(folder, playbook)).markdown.read_text()
    assert "2 updates due, 1 made in time, 1 missed [[J2](#J2)]." in text
    assert "Due at 03:00:29.0 (P0) and not made [[J3](#J3)]." in text
    assert "| 1-initial | 03:00:14.0 | P0 | nobody: a drill | #incidents | [[J2](#J2)] |" in text
    assert "no update was made that was due" in text.lower(), "it stands in the timeline, too"

"""The example that a visitor sees first is what this version leaves behind: its score, its report, its journal.

When this fails, `make example` writes it anew.
"""

import re
from pathlib import Path

from toolkit.analysis import words
from toolkit.drill.score import Score

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"
TEMPLATE = Path(__file__).parents[2] / "toolkit" / "report" / "templates" / "postmortem.md.j2"


def test_the_score_has_the_keys_of_a_score_and_passed() -> None:
    score = Score.model_validate_json((EXAMPLE / "score.json").read_text(), strict=False)
    assert score.model_fields_set == set(Score.model_fields), "make example"
    assert score.passed and set(score.checks) == {"pass", "fail", "unknown"}
    for head in (score.journal_head, score.facilitator_head):
        assert set(head) == {"seq", "hash"} and re.fullmatch("[0-9a-f]{64}", head["hash"])


def test_the_report_has_every_heading_of_the_template() -> None:
    text = (EXAMPLE / "postmortem.md").read_text()
    wanted = re.findall(r"^##+ [^{\n]+$", TEMPLATE.read_text(), re.MULTILINE)
    told = {line for line in text.splitlines() if line.startswith("##")}
    assert len(wanted) > 8
    assert [heading for heading in wanted if heading not in told and heading.startswith("## ")] == []


def test_the_entries_that_it_shows_are_a_journals() -> None:
    """Numbered upwards, each with a moment, an actor and a kind; none beyond the head in the score."""
    score = Score.model_validate_json((EXAMPLE / "score.json").read_text())
    text = (EXAMPLE / "postmortem.md").read_text()
    shown = re.findall(r'<a id="J(\d+)"></a>J\1 \| (\d\d:\d\d:\d\d\.\d) \| ([^|]+) \| ([a-z_]+\.[a-z_]+) \|', text)
    numbers = [int(number) for number, *_ in shown]
    assert len(numbers) > 10 and numbers == sorted(set(numbers)) and numbers[-1] <= score.journal_head["seq"]
    kinds = {kind for *_, kind in shown}
    assert {"incident.opened", "assessment.made", "backup.made", "plan.made", "incident.resolved"} <= kinds
    assert words.NOT_MEASURED not in next(line for line in text.splitlines() if line.startswith("- **Duration**"))

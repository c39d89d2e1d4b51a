"""The README leads from each section of the playbook to a command and a notebook, and names nothing that is not there.

The headings are the document's own, copied here because the document is not part of the repository.
"""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from toolkit.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
HEADINGS = """
Emergency Contacts
Primary On-Call Team
Escalation Contacts
External Contacts
Incident Classification
P0 - Critical (Immediate Response Required)
P1 - High (Response within 15 minutes)
P2 - Medium (Response within 1 hour)
P3 - Low (Response within 4 hours)
Immediate Response Procedures
Step 1: Incident Detection (0-5 minutes)
Step 2: Initial Assessment (5-15 minutes)
Step 3: Incident Stabilization (15-30 minutes)
Rollback Procedures
Pre-Rollback Preparation
Type 1: Migration Rollback
Type 2: Application Rollback
Type 3: Database Restore
Type 4: Full Emergency Rollback
Verification Procedures
Post-Rollback Health Checks
Functional Testing
Communication Protocols
Internal Communication
External Communication
Post-Incident Procedures
Immediate Post-Incident (0-2 hours)
Post-Mortem Analysis (24-48 hours)
Prevention Measures
Pre-Deployment Measures
Monitoring Enhancements
Process Improvements
Checklists
Pre-Rollback Checklist
During Rollback Checklist
Post-Rollback Checklist
Appendix
Useful Commands
Emergency Contacts (Current)
Runbook Location
""".strip().splitlines()


def rows() -> list[tuple[str, str, str]]:
    """The table's rows: section, commands, notebooks."""
    table = README.split("| playbook section | command | notebook |")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[1:]]
    return [(section, command, notebook) for section, command, notebook in cells]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_section_of_the_playbook_has_a_row_in_its_order() -> None:
    assert [section for section, _, _ in rows()] == HEADINGS


@pytest.mark.parametrize(("section", "command", "notebook"), rows(), ids=[section for section, _, _ in rows()])
def test_a_row_names_what_is_there_or_says_that_it_is_coming(section: str, command: str, notebook: str) -> None:
    assert named(command) or "coming" in command
    for line in named(command):
        require_command(line)
    for name in named(notebook):
        assert (ROOT / "notebooks" / f"{name}.ipynb").exists(), name
    assert named(notebook) or notebook in ("–", "coming")


def test_a_command_or_an_option_that_is_not_there_is_found() -> None:
    for wrong in (
        "toolkit no-such",
        "toolkit playbook look",
        "emergency-rollback --no-such",
        "make no-such",
        "vercel ls",
    ):
        with pytest.raises(AssertionError):
            require_command(wrong)


def require_command(line: str) -> None:
    """The words lead to a command, and each option is one of its own."""
    program, *words = line.replace("emergency-rollback", "toolkit rollback").split()
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        return
    assert program == "toolkit", line
    command = get_command(app)
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        assert not word.startswith("--") or word.partition("=")[0] in options, f"{line}: {word}"

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

LINES = """
emergency-rollback.sh --status-only
emergency-rollback.sh --full-emergency
emergency-rollback.sh --migration-target=8
--last-stable
emergency-rollback.sh --app-rollback
--app-rollback=dep_123abc
emergency-rollback.sh --backup-restore=backup-file.sql
vercel ls churn-saver --recent
vercel ls churn-saver --json > app-state-backup.json
vercel env set PROCESSING_ENABLED false
vercel env set SCHEDULER_ENABLED false
vercel logs churn-saver --limit 100
npm run migrate:status
migrate:status > migration-state-backup.txt
npm run validate
npm run migrate:validate
tail -f /var/log/application.log
pg_dump $DATABASE_URL > emergency-backup-
curl -f …/api/health
…/api/health/db
…/api/health/webhooks
curl -I
curl -w "@curl-format.txt"
curl -X POST
SELECT 1;
SELECT COUNT(*) FROM events
SELECT * FROM pg_stat_activity
pg_stat_user_tables
pg_stats
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


def lines() -> list[tuple[str, str, str]]:
    """The second table's rows: what the playbook writes, what is here, why it is done otherwise."""
    table = README.split("| the playbook writes | here | done otherwise, because |")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[1:]]
    return [(line, here, why) for line, here, why in cells]


def test_every_line_of_the_playbook_has_a_row() -> None:
    written = " ".join(line for line, _, _ in lines())
    assert [line for line in LINES if line not in written] == []


@pytest.mark.parametrize(("line", "here", "why"), lines(), ids=[line for line, _, _ in lines()])
def test_what_became_of_a_line_is_there_and_what_is_replaced_says_why(line: str, here: str, why: str) -> None:
    assert named(here) or "coming" in here or "the same option" in here
    for command in named(here):
        if not (ROOT / "notebooks" / f"{command}.ipynb").exists():
            require_command(command)
    if "the same option" in here:
        for option in re.findall(r"--[a-z-]+", line):
            require_command(f"emergency-rollback {option}")
    assert not why.startswith("**replaced**") or len(why) > 30, line


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

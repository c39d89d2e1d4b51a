"""`toolkit playbook check` finds every key that is of no use at night; `show` answers whatever else is wrong."""

import json
import re
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from toolkit.cli import main
from toolkit.playbook.check import Fault, check_playbook

SOURCE = Path(__file__).parents[2] / "playbook.toml"
TODAY = date(2026, 12, 1)
PLACE = re.compile(r'"\[[^"\]]*\]"')
HEAVY = {"pandas", "psycopg", "httpx", "IPython", "papermill", "matplotlib", "starlette", "jinja2"}


def filled_in() -> str:
    """Churn Saver's playbook as its team would fill it in."""
    text = SOURCE.read_text().replace("# contacts_checked", "contacts_checked")
    return PLACE.sub('"+49 30 901820"', text)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "playbook.toml"
    path.write_text(filled_in())
    return path


def test_a_playbook_that_is_filled_in_and_in_date_has_nothing_to_write(file: Path) -> None:
    assert check_playbook(file, TODAY) == []


def _texts() -> list[int]:
    """The lines of the playbook that hold a text of their own."""
    return [n for n, line in enumerate(filled_in().splitlines(), 1) if re.match(r'^\w+ = "', line)]


@pytest.mark.parametrize("number", _texts())
def test_a_placeholder_is_found_in_every_text_and_at_its_line(file: Path, number: int) -> None:
    lines = file.read_text().splitlines()
    key = lines[number - 1].split(" = ")[0]
    lines[number - 1] = re.sub(r'"[^"]*"', '"TODO"', lines[number - 1], count=1)
    file.write_text("\n".join(lines))
    found = [fault for fault in check_playbook(file, TODAY) if fault.line == number]
    assert Fault.PLACEHOLDER in {fault.fault for fault in found}
    assert all(fault.key.split(".")[-1] == key and fault.write for fault in found)


@pytest.mark.parametrize(
    ("old", "new", "key", "fault", "line"),
    [
        ('owner = "DevOps Team"\n', "", "service.owner", Fault.MISSING, "[service]"),
        ("error_rate = 0.10", "error_rate = 10", "thresholds.error_rate", Fault.WRONG, "error_rate = 10"),
        ("error_rate = 0.10", "eror_rate = 0.1", "thresholds.eror_rate", Fault.WRONG, "eror_rate = 0.1"),
        ("min_requests = 40", "min_requests = 0", "targets.sandbox.monitoring.min_requests", Fault.WRONG, "min_req"),
        ('state_table = "schema_m', 'state_table = "ops.schema_m', "database.state_table", Fault.WRONG, "state_table"),
        ('"CTO", "VP', '"CEO", "VP', "escalation[2].roles", Fault.WRONG, 'roles = ["CEO"'),
        ('phone = "+49 30 901820"\n', "", "contacts[0].phone", Fault.MISSING, "[[contacts]]"),
        ('"events", "recovery', '"[table]", "recovery', "database.critical_tables[0]", Fault.PLACEHOLDER, "critical"),
        ('audience = "Team leads"', 'audience = ""', "communication.stakeholders[2].audience", Fault.MISSING, "aud"),
        ("next_review = 2026-12-24", "next_review = 2026-11-30", "review.next_review", Fault.OUT_OF_DATE, "next_rev"),
        ("contacts_checked = 2026-11-24", "contacts_checked = 2026-10-01", "review.contacts_checked", Fault.OUT_OF_DATE,
         "contacts_checked"),
        ("last_updated = 2026-11-24", "last_updated = 2027-11-24", "review.last_updated", Fault.WRONG, "last_updated"),
        ("[links]", "[lynx]", "links", Fault.MISSING, "# The emergency"),
        ('[channels.slack]', '[channels.slack', "the file", Fault.WRONG, "[channels.slack"),
        ('phone = "+49 30 901820"', 'phone = "+1 202 555 0123"', "contacts[0].phone", Fault.PLACEHOLDER, "phone"),
        ('sender = "+49 30 901820"', 'sender = "ops@example.com"', "channels.mail.sender", Fault.PLACEHOLDER, "sender"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(file: Path, old: str, new: str, key: str, fault: Fault, line: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    found = [each for each in check_playbook(file, TODAY) if (each.key, each.fault) == (key, fault)]
    assert len(found) == 1 and file.read_text().splitlines()[found[0].line - 1].startswith(line)


def test_the_example_is_told_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["playbook", "check", "--playbook", str(SOURCE), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1 and not told["good"]
    assert {each["is"] for each in told["keys"]} <= {"placeholder", "missing", "out of date"}
    assert {each["key"] for each in told["keys"]} >= {"contacts[0].phone", "links.runbook", "review.contacts_checked"}


def test_contacts_are_shown_offline_though_the_rest_is_wrong(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket, "socket", nowhere)
    file.write_text(
        file.read_text().replace("error_rate = 0.10", "error_rate = 10").replace("[severity.P1]", "[severity.P9]")
    )
    with pytest.raises(SystemExit) as ended:
        main(["playbook", "show", "contacts", "--playbook", str(file)])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "no telephone" not in out
    assert re.search(r"Database Administrator +\+49 30 901820", out) and "Supabase Support" in out
    assert re.search(r"CTO, VP Engineering +15 min +30 min +120 min +never", out)


@pytest.mark.parametrize("section", ["contacts", "escalation", "severity", "channels", "links", "targets", "review"])
def test_a_section_is_shown(section: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["playbook", "show", section, "--playbook", str(SOURCE), "--json"])
    blocks = json.loads(capsys.readouterr().out)[section]
    assert ended.value.code == 0 and all(blocks.values())


def test_an_unknown_section_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["playbook", "show", "phones", "--playbook", str(SOURCE)])
    assert ended.value.code == 2 and "contacts" in capsys.readouterr().err


def test_showing_contacts_loads_nothing_that_takes_long() -> None:
    program = """if True:
        import sys
        from toolkit.cli import main
        try:
            main(["playbook", "show", "contacts"])
        finally:
            print(" ".join({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
        """
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=SOURCE.parent, check=True)
    assert "CTO" in ran.stdout and not HEAVY & set(ran.stderr.split())

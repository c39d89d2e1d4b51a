"""The newest real backup brings the data back, or the recovery test says what is wrong with it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from toolkit.checks import Outcome
from toolkit.clock import utc_now
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
from toolkit.errors import UsageError
from toolkit.playbook import load_playbook
from toolkit.rollback.recovery_test import newest_backup, run_recovery_test

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def nightly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with last night's dump of a service, whose server is gone."""
    home = tmp_path_factory.mktemp("nightly")
    options = SandboxOptions(evidence=home / "evidence", events=300, cases=80, traffic=False, monitor=False)
    with Sandbox.start(f"test-{os.getpid()}-recovery", options, attached=True) as sandbox:
        shutil.copytree(sandbox.state.backups, home / "backups")
    yield home / "backups"


@pytest.fixture
def backups(nightly: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nightly, tmp_path / "backups"))


def restored(backups: Path, **more):
    return run_recovery_test(
        load_playbook(str(ROOT / "playbook.toml")), "sandbox", newest_backup("sandbox", backups), **more
    )


def test_a_whole_one_brings_the_data_back_and_is_timed(backups: Path) -> None:
    found = restored(backups)
    assert found.outcome is Outcome.PASS, found.results
    evidence = {each.name: each.evidence for each in found.results}
    assert evidence["events has rows"] == "300 rows" and evidence["recovery_cases has rows"] == "80 rows"
    assert found.recovery_time_s is not None and found.recovery_point_s is not None
    told = json.dumps(found.to_json(), default=str)
    assert "mem_seed" not in told and "user_seed" not in told and "biz_" not in told


@pytest.mark.parametrize(("size", "said"), [(0, "no content"), (4096, "")])
def test_an_empty_and_a_torn_one_fail_and_nothing_is_said_of_their_content(size: int, said: str, backups: Path) -> None:
    [dump] = backups.iterdir()
    with dump.open("r+b") as file:
        file.truncate(size)
    found = restored(backups)
    assert found.outcome is Outcome.FAIL and len(found.results) == 1
    assert said in found.results[0].evidence and found.recovery_time_s is None


def test_an_old_one_fails_by_the_age_of_its_newest_row(backups: Path) -> None:
    found = restored(backups, now=utc_now() + timedelta(days=3))
    [wrong] = [each for each in found.results if each.outcome is not Outcome.PASS]
    assert wrong.name == "its newest event is from last night or later" and re.match(r"it is 7\d", wrong.evidence)


def test_the_newest_is_taken_by_when_it_was_written_broken_or_not(backups: Path) -> None:
    [dump] = backups.iterdir()
    broken = dump.with_name("0001-01-01.dump")
    broken.touch()
    assert newest_backup("sandbox", backups) == broken
    for nothing in (None, backups / "nowhere"):
        with pytest.raises(UsageError, match="has no folder of scheduled backups"):
            newest_backup("sandbox", nothing)


def test_the_command_leaves_its_evidence_and_says_by_its_exit_code_how_it_went(backups: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"BACKUPS_FOLDER": str(backups), "TOOLKIT_PLAYBOOK": str(ROOT / "playbook.toml")}

    def run(*more: str) -> "subprocess.CompletedProcess[str]":
        argv = [str(Path(sys.executable).with_name("toolkit")), "recovery-test", "--target", "sandbox", *more]
        return subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    well = run("--json")
    assert well.returncode == 0, well.stderr
    told = json.loads(well.stdout)
    kept = json.loads((tmp_path / told["folder"] / "recovery.json").read_text())
    assert kept["outcome"] == told["outcome"] == "pass"
    [dump] = backups.iterdir()
    dump.write_bytes(b"")
    ill = run("--out", "ill")
    assert ill.returncode == 3 and "did not pass: it can be read to its end" in ill.stderr
    assert json.loads((tmp_path / "ill" / "recovery.json").read_text())["outcome"] == "fail"
    missing = run("--backup", "nowhere.dump")
    assert missing.returncode == 2 and "There is no backup at nowhere.dump" in missing.stderr

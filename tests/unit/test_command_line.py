"""The command line answers bad input with one paragraph, the right exit code, and JSON where that was asked for."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit.cli import main
from toolkit.cli.rolling_back import Asked, _command
from toolkit.drill.scenario import scenario_names
from toolkit.journal import Journal
from toolkit.places import sandbox_home
from toolkit.redaction import keep_secret

SOURCE = Path(__file__).parents[2] / "playbook.toml"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Runs a command; returns its exit code, what it printed and what it said on the error stream."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_a_fault_of_ours_is_told_without_the_secrets_it_quotes(run, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_secret("s3cr-et-9")

    def fails(*_: object) -> None:
        raise RuntimeError("invalid token: s3cr-et-9")

    monkeypatch.setattr("toolkit.cli.rollback.show_status", fails)
    code, out, err = run("rollback", "--status-only", "--json")
    assert code == 1 and "s3cr" not in out + err
    assert json.loads(out)["error"] == "The toolkit itself failed: RuntimeError: invalid token: ***"


def test_an_unknown_scenario_is_named_with_those_that_are_known(run) -> None:
    code, out, err = run("drill", "run", "breaking-migratoin", "--json")
    assert code == 2 and "breaking-migration" in err
    assert json.loads(out)["next"] == f"use one of: {', '.join(scenario_names())}"


@pytest.mark.parametrize(
    "words", [("drill", "rnu"), ("declare", "P9", "x"), ("drill", "run", "x", "--seed", "one"), ()]
)
def test_wrong_words_exit_with_2(run, words: tuple[str, ...]) -> None:
    assert run(*words)[0] == 2


@pytest.mark.parametrize(
    "words", [("drill", "run", "breaking-migration", "--out", "{out}"), ("sandbox", "start", "--name", "never")]
)
def test_bad_input_is_told_before_anything_is_started(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    words = tuple(word.format(out=out) for word in words)
    for seed in ("100000000000000000000", "-1"):
        code, _, err = run(*words, "--seed", seed)
        assert code == 2 and f"{seed} is no seed" in err
    playbook = tmp_path / "playbook.toml"
    monkeypatch.setenv("TOOLKIT_PLAYBOOK", str(playbook))
    for content, told in (
        ("[service", "is not TOML"),
        (SOURCE.read_text().replace("targets.sandbox", "targets.box"), "There is no target 'sandbox'"),
    ):
        playbook.write_text(content)
        code, _, err = run(*words)
        assert code == 2 and told in err
    assert not out.exists() and not sandbox_home("never").exists()


def test_a_drill_whose_sandbox_cannot_come_up_leaves_nothing_and_says_what_to_set(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_BINDIR", str(tmp_path))
    monkeypatch.setattr("toolkit.drill.line.warm_up", lambda: None)
    out = tmp_path / "out"
    for _ in range(2):
        code, _, err = run("drill", "run", "breaking-migration", "--out", str(out))
        assert code == 2 and "There is no initdb" in err and "set PG_BINDIR" in err
        assert not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--app-rollback=",), "--app-rollback is empty"),
        (("--backup-restore=",), "--backup-restore is empty"),
        (("--last-stable", "--deployment="), "--deployment is empty"),
        (("--full-emergency", "--breach="), "--breach is empty"),
        (("--last-stable", "--breach", "a key was stolen"), "--breach means nothing with --last-stable"),
        (("--backup-restore=x", "--deployment=dpl_1"), "--deployment means nothing with --backup-restore"),
        (("--app-rollback", "--deployment=dpl_1"), "--deployment means nothing with --app-rollback"),
        (("--migration-target=",), "--migration-target is empty"),
        (("--migration-target=0",), "--migration-target is empty"),
        (("--last-stable", "--rehearsal-budget=long"), "--rehearsal-budget"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_an_unset_variable_or_an_unheeded_option_is_wrong_use(run, words: tuple[str, ...], said: str) -> None:
    code, out, err = run("rollback", *words, "--execute", "--json", "--target", "sandbox")
    assert code == 2 and said in err
    assert said in json.loads(out)["error"]


def test_the_command_to_copy_says_all_that_was_said(tmp_path: Path) -> None:
    said = Asked(operator="dba", no_rehearsal="no time", take_over="she left", end_blockers=True, rehearsal_budget_s=60)
    target = SimpleNamespace(name="production", production=True)
    systems = SimpleNamespace(target=target, playbook=SimpleNamespace(service=SimpleNamespace(name="churn-saver")))
    command = _command(said, systems, {"migration_target": "last-stable"})  # type: ignore[arg-type]
    for words in (
        "--last-stable --target production",
        "--operator dba",
        "--no-rehearsal 'no time'",
        "--take-over 'she left'",
        "--end-blockers",
        "--rehearsal-budget 60",
        "--confirm churn-saver --execute",
    ):
        assert words in command


def test_a_folder_that_exists_is_left_alone(run, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    code, _, err = run("drill", "run", "breaking-migration", "--out", str(tmp_path))
    assert code == 2 and "exists already" in err and [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_no_sandbox_is_an_error_that_says_how_to_start_one(run) -> None:
    code, _, err = run("sandbox", "stop", "--name", "nobody-started-this")
    assert code == 2 and "toolkit sandbox start" in err


def test_a_malformed_playbook_declares_nothing(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playbook = tmp_path / "playbook.toml"
    playbook.write_text(SOURCE.read_text().replace("[severity.P1]", "[severity.P7]"))
    monkeypatch.chdir(tmp_path)
    code, _, err = run("declare", "P1", "users see an empty dashboard")
    assert code == 2 and "severity" in err and not (tmp_path / "reports").exists()


@pytest.mark.parametrize("name", ["../../evil", "Churn Saver", ""])
def test_a_service_has_a_plain_name(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    playbook = tmp_path / "playbook.toml"
    playbook.write_text(SOURCE.read_text().replace('name = "churn-saver"', f'name = "{name}"'))
    monkeypatch.chdir(tmp_path)
    assert run("declare", "P1", "x")[0] == 2 and not (tmp_path / "reports").exists()


def test_declaring_opens_an_incident(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(SOURCE, tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("declare", "P1", "users see an empty dashboard", "--json")
    folder = Path(json.loads(out)["incident"])
    assert folder.is_absolute(), "a notebook runs in another folder"
    entries = Journal(folder / "journal.jsonl", "x").entries()
    assert code == 0 and [(e.kind, e.data["severity"]) for e in entries] == [("incident.opened", "P1")]


def test_an_incident_from_declaring_to_who_does_what(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(SOURCE, tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("declare", "P1", "users see an empty dashboard")
    folder = out.splitlines()[0]
    assert code == 0 and "call now:\n  DevOps Lead: no number in the playbook" in out
    code, _, err = run("declare", "P0", "amounts are wrong, too")
    assert code == 2 and f"--incident {folder}" in err, "a second one for the same outage divides the team"
    assert run("declare", "P0", "amounts are wrong, too", "--incident", folder)[0] == 0
    code, out, _ = run("acknowledge", "--operator", "DevOps Lead")
    assert code == 0 and "acknowledged. Answered after" in out and "P0 is to be answered at once" in out
    code, out, _ = run("acknowledge", "--operator", "CTO", "--json")
    assert code == 0 and json.loads(out)["acknowledged"] is False
    assert run("role", "lead", "DevOps Lead")[0] == run("note", "--from-users", "three tickets")[0] == 0
    assert "incident lead   DevOps Lead" in run("role")[1]
    code, _, err = run("role", "hero", "CTO")
    assert code == 2 and "use lead, communications, scribe" in err
    kinds = [e.kind.split(".")[-1] for e in Journal(Path(folder) / "journal.jsonl", "x").entries()]
    assert kinds == ["opened", "severity", "acknowledged", "taken", "reported"]
    assert run("declare", "P2", "another thing", "--another", "--json")[0] == 0


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A drill's folder: two journals, and their heads in the score."""
    heads = {}
    for name, key in (("journal", "journal_head"), ("facilitator", "facilitator_head")):
        journal = Journal(tmp_path / f"{name}.jsonl", "drill")
        for number in range(3):
            journal.append("note", {"number": number}, actor="scribe")
        heads[key] = {"seq": journal.head().seq, "hash": journal.head().hash}
    (tmp_path / "score.json").write_text(json.dumps(heads))
    return tmp_path


def test_whole_evidence_is_told_with_how_far_it_was_checked(run, finished: Path) -> None:
    code, out, _ = run("journal", "verify", str(finished), "--json")
    assert code == 0 and "up to entry 3" in json.loads(out)["journal.jsonl"]["tail"]


@pytest.mark.parametrize("name", ["journal.jsonl", "facilitator.jsonl"])
@pytest.mark.parametrize("damage", ["gone", "shorter"])
def test_a_journal_that_is_gone_or_shorter_is_found(run, finished: Path, name: str, damage: str) -> None:
    path = finished / name
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    if damage == "shorter":
        path.write_bytes(b"".join(lines[:-1]))
    code, _, err = run("journal", "verify", str(finished))
    assert code == 1 and name in err and "not whole" in err
    code, out, err = run("journal", "verify", str(finished), "--json")
    told = json.loads(out)  # one object
    assert code == 1 and "not whole" in err and "not whole" in told["error"]
    assert told[name]["problems"] and told["next"] == "keep the folder as it is"


def test_a_folder_that_is_no_backup_is_one_json_object(run, tmp_path: Path) -> None:
    code, out, err = run("backup", "verify", str(tmp_path), "--json")
    told = json.loads(out)
    assert code == 1 and "is not good: manifest" in told["error"] and "is not good" in err
    assert [check["outcome"] for check in told["checks"]] == ["fail"]


def test_what_the_machine_refuses_is_json_too(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/full/journal.jsonl")

    monkeypatch.setattr("toolkit.cli.rollback.show_status", full)
    code, out, err = run("rollback", "--status-only", "--json")
    assert code == 1 and "No space left on device (/full/journal.jsonl). Next: mend that" in err
    assert json.loads(out)["error"] == "No space left on device (/full/journal.jsonl)"


def test_a_damaged_score_is_told(run, finished: Path) -> None:
    (finished / "score.json").write_text('{"journal_head": 5}')
    code, _, err = run("journal", "verify", str(finished))
    assert code == 1 and "is damaged" in err

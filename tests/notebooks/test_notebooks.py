"""The notebooks as they are committed: their form, plain papermill, and nbval against a sandbox that is broken."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from toolkit.checklist import load_checklists, tick
from toolkit.drill.faults import inject
from toolkit.drill.hands_on import begin_drill
from toolkit.drill.line import Drill
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
from toolkit.errors import UsageError
from toolkit.incident import Incident, State
from toolkit.notebook.kernels import cool_down
from toolkit.notebook.parameters import injected_and_declared
from toolkit.notebook.run import NOTEBOOKS, check_parameters, run_notebook
from toolkit.playbook import Severity, load_playbook

ALL = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
LINE = ("01_assess", "02_stabilize", "03_rollback", "04_verify", "05_postmortem")
PLAYBOOK = load_playbook(str(NOTEBOOKS.parent / "playbook.toml"))
NOBODY_TO_TELL = "there is nobody to tell"
ACTING = ("02_stabilize", "03_rollback")


@pytest.fixture(scope="module", autouse=True)
def _no_kernel_is_left() -> Iterator[None]:
    yield
    cool_down()


def code_cells(path: Path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_reads_as_prose_with_short_cells(path: Path) -> None:
    cells = nbformat.read(path, 4).cells
    first = cells[0].source
    assert cells[0].cell_type == "markdown" and "**When:**" in first and "**When not:**" in first
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    assert "What next?" in cells[-1].source
    for cell in code_cells(path):
        is_form = "parameters" in cell.metadata.get("tags", [])
        assert len(cell.source.splitlines()) <= (15 if is_form else 10), "one line a parameter"
        assert not any(line.startswith(("!", "%", "def ")) for line in cell.source.splitlines())
        compared = "NBVAL_CHECK_OUTPUT" in cell.source
        assert bool(cell.outputs) == bool(cell.execution_count) == compared, "only what nbval compares is kept"


def test_a_parameter_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="has no parameter traget") as raised:
        check_parameters(NOTEBOOKS / "01_assess.ipynb", {"traget": "production"})
    assert "use decision, incident, operator, playbook, reason, target" in str(raised.value)
    with pytest.raises(UsageError, match="There is no notebook '99_x'"):
        check_parameters(NOTEBOOKS / "99_x.ipynb", {})


@pytest.mark.parametrize("name", ["01_assess", "04_verify", "05_postmortem", "10_drill"])
def test_plain_papermill_does_not_run_on_without_a_parameter_that_is_not_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistyped, the target would be the one that TOOLKIT_TARGET happens to name. papermill itself only warns."""
    monkeypatch.setenv("TOOLKIT_TARGET", "sandbox")
    output, parameters = tmp_path / "out.ipynb", {"traget": "production"}
    with pytest.raises(PapermillExecutionError, match="has no parameter traget") as raised:
        papermill.execute_notebook(
            NOTEBOOKS / f"{name}.ipynb", output, parameters, engine_name="forked", progress_bar=False, cwd=NOTEBOOKS
        )
    assert raised.value.ename == "UsageError" and "Next: use " in raised.value.evalue


def test_names_that_are_declared_or_set_by_cells_are_known() -> None:
    declaring = "target = ''  # a target\nexecute = False"
    assert injected_and_declared(["", declaring, "# Parameters\ntarget = 'sandbox'\n"])[0] == {"target"}
    again = ["", declaring, "# Parameters\ntraget = 1", "%time x", "desk = 1", "# Parameters\ntraget = 'a'"]
    injected, declared = injected_and_declared(again)
    assert injected - declared == {"traget"}, "an injected cell declares nothing"
    assert injected_and_declared(["", declaring]) == injected_and_declared([]) == (set(), set())


def test_trends_are_shown_where_there_is_little_to_show(tmp_path: Path) -> None:
    incident = Incident(tmp_path / "reports" / "one")
    incident.folder.mkdir(parents=True)
    incident.open(Severity.P0, ["requests fail"], actor="monitor")
    output = tmp_path / "11.ipynb"
    run_notebook("11_trends", output, {"folders": str(tmp_path / "reports")}, within_s=120)
    shown = json.dumps([cell.outputs for cell in code_cells(output)])
    assert "time to resolution" in shown and "Only one version was drilled" in shown and "in no journal" in shown


def test_a_secret_is_no_parameter() -> None:
    with pytest.raises(UsageError, match="holds a secret"):
        check_parameters(NOTEBOOKS / "01_assess.ipynb", {"target": "postgresql://a:swordfish@db/x"})


def test_a_notebook_that_fails_keeps_its_output_and_says_one_paragraph(tmp_path: Path) -> None:
    output = tmp_path / "out.ipynb"
    argv = [sys.executable, "-m", "papermill", NOTEBOOKS / "01_assess.ipynb", output, "-p", "incident", tmp_path]
    argv += ["-p", "target", "production", "--no-progress-bar"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=NOTEBOOKS, check=False)
    assert done.returncode == 1
    failed = next(out for cell in code_cells(output) for out in cell.outputs if out.output_type == "error")
    assert failed.ename == "UsageError" and "PRODUCTION_DATABASE_URL" in failed.evalue
    assert len(failed.traceback) == 1, "a paragraph, no traceback"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """A sandbox in which the default scenario was just detected, as the notebooks find it in an emergency."""
    os.chdir(NOTEBOOKS.parent)
    drill, _ = begin_drill("breaking-migration", 3, str(tmp_path_factory.mktemp("nbval") / "incident"))
    try:
        drill.break_it()
        drill.wait_for_incident()
        yield drill
    finally:
        drill.close()


def prepared(name: str, drill: Drill, folder: Path) -> Path:
    """The notebook with its parameters put in and its stored outputs kept, not yet run."""
    parameters: dict[str, object] = {"incident": str(drill.folder)}
    if name != "05_postmortem":
        parameters["target"] = "sandbox"
    if name in ACTING:
        parameters["execute"] = True
    if name == "03_rollback":
        parameters["override"] = NOBODY_TO_TELL
    output = folder / f"{name}.ipynb"
    papermill.execute_notebook(NOTEBOOKS / f"{name}.ipynb", output, parameters, prepare_only=True, progress_bar=False)
    return output


def test_plain_papermill_runs_one_alone(broken: Drill, tmp_path: Path) -> None:
    """As the README tells it. The whole line is the soak's; the drill by hand below runs plainly, too."""
    environment = dict(os.environ) | broken.sandbox.state.environment()
    given = {"incident": str(broken.folder)}
    run_plainly("01_assess", tmp_path / "01_assess.ipynb", given | {"target": "sandbox"}, environment)
    run_plainly("05_postmortem", tmp_path / "05_postmortem.ipynb", given, environment)
    assert broken.incident.latest("assessment.made") and (broken.folder / "postmortem.html").exists()


def test_nbval_compares_the_line_against_a_broken_sandbox(broken: Drill, tmp_path: Path) -> None:
    """In order, as an emergency runs them: each finds what the one before left behind."""
    books = [prepared(name, broken, tmp_path) for name in LINE]
    argv = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=120", "-p", "no:cacheprovider"]
    argv += ["-q", "--rootdir", str(tmp_path), "-o", "addopts=", *map(str, books)]
    environment = dict(os.environ) | broken.sandbox.state.environment()
    environment["TOOLKIT_PLAYBOOK"] = str(NOTEBOOKS.parent / "playbook.toml")
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert json.loads((broken.folder / "journal.jsonl").read_text().splitlines()[-1])


@pytest.mark.soak
def test_plain_papermill_runs_the_line_to_its_end(broken: Drill, tmp_path: Path) -> None:
    """A sandbox that was mended above is broken again, and somebody declares it."""
    assert broken.sandbox is not None
    if broken.incident.state is State.RESOLVED:
        inject(broken.scenario, broken.sandbox.state)
    incident = Incident(tmp_path / "declared")
    incident.folder.mkdir()
    incident.open(Severity.P1, ["webhooks fail"], actor="tester")
    environment = dict(os.environ) | broken.sandbox.state.environment()
    for name in LINE:
        output = tmp_path / f"{name}.ipynb"
        given = {"incident": str(incident.folder)} | ({} if name == "05_postmortem" else {"target": "sandbox"})
        if name == "03_rollback":
            tick(incident, PLAYBOOK, load_checklists(PLAYBOOK), "pre.stakeholders", by="tester")
        run_plainly(name, output, given | ({"execute": "True"} if name in ACTING else {}), environment)
    assert incident.state is State.RESOLVED
    assert (incident.folder / "postmortem.html").exists()


def run_plainly(name: str, output: Path, given: dict[str, str], environment: dict[str, str]) -> None:
    """papermill as it is installed, with its own kernels."""
    argv = [sys.executable, "-m", "papermill", f"{name}.ipynb", str(output), "--no-progress-bar"]
    argv += [word for parameter in given.items() for word in ("-p", *parameter)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=NOTEBOOKS, env=environment, check=False)
    assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"


def test_the_drill_by_hand_uses_a_running_sandbox_and_leaves_it(tmp_path: Path) -> None:
    """10_drill on plain papermill, as somebody presses 'run all' after `toolkit sandbox start`, with a decision
    and another scenario than the default."""
    name, output = f"test-{os.getpid()}-hand", tmp_path / "10_drill.ipynb"
    why = "the errors are the code's, and the one before it was well"
    given = {"sandbox": name, "scenario": "bad-deployment", "deployment": "previous", "why": why}
    with Sandbox.start(name, SandboxOptions(evidence=tmp_path / "drill", seed=5), attached=True) as sandbox:
        run_plainly("10_drill", output, given, dict(os.environ))
        assert sandbox.state.alive()
        with pytest.raises(UsageError, match="there was an incident or a drill already"):
            begin_drill("breaking-migration", 1, sandbox=name)
    with pytest.raises(UsageError, match="is running"):
        begin_drill("breaking-migration", 1, sandbox=name)
    printed = [out.text for cell in code_cells(output) for out in cell.outputs if out.output_type == "stream"]
    assert "passed\n" in printed
    decided = Incident.at(tmp_path / "drill").latest("decision.made")
    assert decided is not None
    assert (decided.data["what"], decided.data["why"]) == ("roll back by deployment = previous", why)

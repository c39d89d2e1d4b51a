"""Forked kernels: quick, apart from each other, and gone when their owner is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest

from toolkit.clock import wait_until
from toolkit.errors import NotebookError, UnverifiedError
from toolkit.notebook import run as notebook_run
from toolkit.notebook.kernels import cool_down, warm_up
from toolkit.notebook.run import run_notebook

OWNER = """
import sys, papermill
from toolkit.notebook.kernels import warm_up
server = warm_up()
papermill.execute_notebook(sys.argv[1], sys.argv[2], engine_name="forked", progress_bar=False)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of notebooks that a test writes; the fork server ends with the test."""
    monkeypatch.setattr(notebook_run, "NOTEBOOKS", tmp_path)
    yield tmp_path
    cool_down()


def write(folder: Path, name: str, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell("value = 1", metadata={"tags": ["parameters"]})]
    book = nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(source) for source in sources])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / f"{name}.ipynb").write_text(nbformat.writes(book))
    return folder / f"{name}.ipynb"


def text_of(output: Path) -> str:
    cells = nbformat.read(output, 4).cells
    return "".join(out.get("text", "") for cell in cells for out in cell.get("outputs", []))


def test_parameters_reach_it_and_nothing_leaks_into_the_next(folder: Path) -> None:
    write(folder, "1_leaks", "import os, sys; os.environ['LEAK'] = 'x'; sys.leak = value; print(value)")
    write(folder, "2_looks", "import os, sys; print(os.environ.get('LEAK'), hasattr(sys, 'leak'))")
    run_notebook("1_leaks", folder / "out1.ipynb", {"value": 7})
    run_notebook("2_looks", folder / "out2.ipynb", {})
    assert (text_of(folder / "out1.ipynb"), text_of(folder / "out2.ipynb")) == ("7\n", "None False\n")


def test_a_figure_is_shown(folder: Path) -> None:
    write(folder, "1_figure", "from toolkit.notebook.display import show_svg", "show_svg('<svg/>', 'a picture')")
    run_notebook("1_figure", folder / "out.ipynb", {})
    html = [out.data["text/html"] for cell in nbformat.read(folder / "out.ipynb", 4).cells for out in cell.outputs]
    assert 'alt="a picture"' in html[0]


def test_our_errors_keep_their_kind_and_the_output_is_kept(folder: Path) -> None:
    write(
        folder, "1_fails", "print('ran')", "from toolkit.errors import *\nraise UnverifiedError('two rows are missing')"
    )
    with pytest.raises(UnverifiedError, match=r"1_fails stopped at cell .*two rows are missing") as raised:
        run_notebook("1_fails", folder / "out.ipynb", {})
    assert raised.value.exit_code == 3 and "ran" in text_of(folder / "out.ipynb")


def test_a_killed_kernel_is_told_and_the_next_notebook_runs(folder: Path) -> None:
    write(folder, "1_dies", "print('before', flush=True)", "import os; os.kill(os.getpid(), 9)")
    write(folder, "2_lives", "print('alive')")
    with pytest.raises(NotebookError, match="1_dies stopped"):
        run_notebook("1_dies", folder / "out1.ipynb", {})
    run_notebook("2_lives", folder / "out2.ipynb", {})
    assert "before" in text_of(folder / "out1.ipynb") and text_of(folder / "out2.ipynb") == "alive\n"


def test_a_cell_that_hangs_is_ended(folder: Path) -> None:
    write(folder, "1_hangs", "import time; time.sleep(600)")
    with pytest.raises(NotebookError, match="1_hangs stopped"):
        run_notebook("1_hangs", folder / "out.ipynb", {}, within_s=1)


def test_it_ends_with_a_killed_owner(folder: Path) -> None:
    source = write(folder, "1_waits", "print('up', flush=True)", "import time; time.sleep(600)")
    output = folder / "out.ipynb"
    owner = subprocess.Popen([sys.executable, "-W", "ignore", "-c", OWNER, source, output])
    wait_until(lambda: output.exists() and "up" in text_of(output), within=60, what="the notebook to run")
    family = psutil.Process(owner.pid).children(recursive=True)
    assert len(family) >= 2
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait(10)
    wait_until(lambda: not any(each.is_running() for each in family), within=15, what="server and kernel to end")


def test_papermill_finds_the_engine_by_itself() -> None:
    assert papermill.engines.papermill_engines.get_engine("forked").__name__ == "ForkedEngine"


def test_warming_up_twice_is_one_server(folder: Path) -> None:
    assert warm_up() is warm_up()

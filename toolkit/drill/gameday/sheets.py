"""The notebooks of one game day: copies with incident and target set, in a folder that JupyterLab opens.

A copy for each use is the evidence of it: at the end they are kept beside the incident as they were saved last. The
project's own notebooks are left as they are.
"""

import shutil
from pathlib import Path

from toolkit.drill.steady import TARGET
from toolkit.notebook.run import NOTEBOOKS, prepare_notebook

FOLDER = NOTEBOOKS / "gameday"
HEAD = "13_gameday"
ACTING = ("02_stabilize", "03_rollback")
SHEETS = ("01_assess", *ACTING, "04_verify")


def lay_out(folder: Path, operator: str) -> Path:
    """Make the copies for the incident of `folder`. Returns their folder.

    In none of them `execute` is set: that is the person's to do.
    """
    sheets = FOLDER / folder.name
    sheets.mkdir(parents=True)
    prepare_notebook(HEAD, sheets / f"{HEAD}.ipynb", {"operator": operator})
    for name in SHEETS:
        given: dict[str, str | bool] = {"incident": str(folder.resolve()), "target": TARGET, "operator": operator}
        if name in ACTING:
            given["execute"] = False
        prepare_notebook(name, sheets / f"{name}.ipynb", given)
    return sheets


def gather(folder: Path) -> None:
    """Keep the copies in the incident's folder. Where there are none, nothing."""
    for sheet in sorted((FOLDER / folder.name).glob("*.ipynb")):
        (folder / "notebooks").mkdir(exist_ok=True)
        shutil.copy2(sheet, folder / "notebooks" / sheet.name)

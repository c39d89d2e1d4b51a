"""Run one notebook with papermill: parameters checked first, output kept whatever happens, failures as one paragraph.

papermill only warns of an unknown parameter, and writes every parameter into the output in plain text. So a name that
the notebook does not declare is an error here, and a value that is a known secret is refused.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from toolkit import errors
from toolkit.errors import NotebookError, ToolkitError, UsageError
from toolkit.redaction import redact

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@dataclass(frozen=True)
class NotebookRun:
    """A notebook that ran to its end: where its output is, and how long it took (`seconds`)."""

    name: str
    output: Path
    seconds: float


def run_notebook(
    name: str, output: Path, parameters: Mapping[str, Any], *, engine: str = "forked", within_s: int | None = None
) -> NotebookRun:
    """Execute `notebooks/<name>.ipynb` into `output` (a file, its folder made where missing).

    `within_s` bounds each cell. Raises UsageError before anything ran; afterwards the error that the notebook raised,
    of its own kind where it is one of ours (so that its exit code is kept), otherwise NotebookError. The output stays.
    """
    source = NOTEBOOKS / f"{name}.ipynb"
    check_parameters(source, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        papermill.execute_notebook(
            source,
            output,
            parameters=dict(parameters),
            engine_name=engine,
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=within_s,
            cwd=NOTEBOOKS,
        )
    except PapermillExecutionError as error:
        raise _as_ours(error, name, output) from None
    except ToolkitError:
        raise
    except Exception as error:  # a kernel that died, a disk that is full: whatever papermill raises
        raise NotebookError(
            f"Notebook {name} stopped: {type(error).__name__}: {redact(str(error)).strip().splitlines()[0]}",
            state=f"what had run is kept in {output}",
            next="read it, then run the notebook again; what was done is not done twice",
        ) from error
    return NotebookRun(name, output, round(time.monotonic() - began, 3))


def prepare_notebook(name: str, output: Path, parameters: Mapping[str, Any]) -> None:
    """Write `notebooks/<name>.ipynb` into `output` with these set in its cell of parameters, each beside what it means,
    for a person to run. UsageError as above.
    """
    source = NOTEBOOKS / f"{name}.ipynb"
    check_parameters(source, parameters)
    book = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
    cell = next(each for each in book.cells if "parameters" in each.metadata.get("tags", ()))
    for parameter, value in parameters.items():
        line = re.compile(rf"^{parameter} *=[^#\n]*?( *#.*)?$", re.MULTILINE)
        cell.source = line.sub(lambda found: f"{parameter} = {value!r}{found[1] or ''}", cell.source, count=1)  # noqa: B023
    nbformat.write(book, output)  # type: ignore[no-untyped-call]


def check_parameters(source: Path, parameters: Mapping[str, Any]) -> None:
    """UsageError for a notebook that does not exist, a parameter that it does not declare, or a secret as a value."""
    if not source.exists():
        known = ", ".join(sorted(path.stem for path in source.parent.glob("[0-9]*.ipynb")))
        raise UsageError(f"There is no notebook {source.stem!r}", next=f"use one of {known}")
    declared = set(papermill.inspect_notebook(str(source)))
    if unknown := sorted(set(parameters) - declared):
        raise UsageError(
            f"Notebook {source.stem} has no parameter {', '.join(unknown)}",
            state="nothing was run",
            next=f"use {', '.join(sorted(declared))}",
        )
    if secret := [name for name, value in parameters.items() if isinstance(value, str) and redact(value) != value]:
        raise UsageError(
            f"Parameter {secret[0]} holds a secret, which would be written into the output",
            state="nothing was run",
            next="pass the name of an environment variable instead",
        )


def _as_ours(error: PapermillExecutionError, name: str, output: Path) -> ToolkitError:
    kind = getattr(errors, str(error.ename), NotebookError)
    if not (isinstance(kind, type) and issubclass(kind, ToolkitError)):
        kind = NotebookError
    said = redact(str(error.evalue))
    if kind is NotebookError:
        said = f"{error.ename}: {said}"
    return kind(
        f"Notebook {name} stopped at cell {error.exec_count}: {said}",
        state=f"what had run is kept in {output}",
    )

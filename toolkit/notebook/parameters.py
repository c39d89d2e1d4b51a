"""Whether the parameters that papermill put into the running notebook are ones that it declares.

papermill only warns of a mistyped name and goes on without it: on another target than the one that was meant. `run`
looks before it starts a notebook; a notebook that plain papermill started looks here, at its first line. It reads the
cells that ran so far and runs nothing.
"""

import ast
from collections.abc import Sequence

from IPython.core.getipython import get_ipython

from toolkit.errors import UsageError

INJECTED = "# Parameters\n"  # how papermill begins the cell that it adds below the one with the defaults


def require_declared_parameters() -> None:
    """UsageError where the latest injected cell sets a name that no cell before it sets. Nothing outside a notebook."""
    shell = get_ipython()
    injected, declared = injected_and_declared(shell.user_ns.get("In", ()) if shell else ())
    if unknown := sorted(injected - declared):
        raise UsageError(
            f"This notebook has no parameter {', '.join(unknown)}",
            state="nothing was done",
            next=f"use {', '.join(sorted(declared))}",
        )


def injected_and_declared(cells: Sequence[str]) -> tuple[set[str], set[str]]:
    """Of the cells that ran, in order: the names that the latest injected one sets, and those set before by others."""
    if not cells:
        return set(), set()
    latest = max((number for number, cell in enumerate(cells) if cell.startswith(INJECTED)), default=0)
    before = [cell for cell in cells[:latest] if not cell.startswith(INJECTED)]
    declared = set().union(*(_assigned(cell) for cell in before))
    return (_assigned(cells[latest]), declared) if declared else (set(), set())


def _assigned(cell: str) -> set[str]:
    try:
        body = ast.parse(cell).body
    except SyntaxError:
        return set()
    assigned = [each for each in body if isinstance(each, ast.Assign)]
    return {target.id for each in assigned for target in each.targets if isinstance(target, ast.Name)}

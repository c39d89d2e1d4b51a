"""A drill for a person: the same line, with the steps in between left to whoever runs the notebook `10_drill`.

It sets the table: a sandbox, a monitor, a steady state, and a desk to work at. It gives nothing away.
"""

from pathlib import Path

from toolkit.drill.line import Drill, drill_folder
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.scenario import Scenario, load_scenario
from toolkit.drill.steady import TARGET
from toolkit.errors import UsageError
from toolkit.incident import FACILITATOR_FILE, Incident
from toolkit.notebook.desk import Desk, open_desk
from toolkit.notebook.parameters import require_declared_parameters
from toolkit.playbook import load_playbook


class _OnRunning(Drill):
    """A drill on a sandbox that runs already, in the sandbox's own folder. It is used and left running."""

    def __init__(self, scenario: Scenario, sandbox: Sandbox) -> None:
        super().__init__(scenario, sandbox.state.options.seed, sandbox.evidence, keep=True)
        self._found = sandbox

    def start(self) -> None:
        """What is normal in it, measured and recorded."""
        self._set_up()

    def _start_sandbox(self) -> Sandbox:
        return self._found


def begin_drill(
    scenario: str, seed: int, folder: str = "", operator: str = "responder", sandbox: str = ""
) -> tuple[Drill, Desk]:
    """A sandbox under traffic, watched; returns the drill and a desk on its incident, not yet opened.

    `sandbox` names a running one: it is used, with its own seed and folder, and left running. '': one is started, which
    ends with this process at the latest. UsageError for an unknown scenario or parameter, a folder that exists, and a
    sandbox that does not run or in which there was an incident already.
    """
    require_declared_parameters()
    chosen = load_scenario(scenario)
    if sandbox:
        drill: Drill = _OnRunning(chosen, _fresh(sandbox, folder))
    else:
        reports = load_playbook().folder / "reports"
        drill = Drill(chosen, seed, Path(folder) if folder else drill_folder(reports, scenario, seed))
    drill.start()
    desk = open_desk("10_drill", incident=str(drill.folder), target=TARGET, operator=operator)
    return drill, desk


def _fresh(name: str, folder: str) -> Sandbox:
    """A running sandbox with traffic and a monitor, in which nothing happened yet."""
    found = Sandbox.find(name)
    options = found.state.options
    if folder:
        raise UsageError("A running sandbox has its folder already", next=f"leave `folder` empty: {options.evidence}")
    if not (options.traffic and options.monitor):
        raise UsageError(f"Sandbox {name!r} has no traffic or no monitor", next="start another one, with both")
    if (options.evidence / FACILITATOR_FILE).exists() or Incident(options.evidence).state is not None:
        raise UsageError(
            f"In sandbox {name!r} there was an incident or a drill already",
            state="nothing was changed",
            next=f"go on with 01_assess on {options.evidence}, or start another sandbox",
        )
    return found

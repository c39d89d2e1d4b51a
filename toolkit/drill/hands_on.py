"""A drill for a person: the same line, with the steps in between left to whoever runs the notebook `10_drill`.

It sets the table: a sandbox, a monitor, a steady state, and a desk to work at. It gives nothing away.
"""

from pathlib import Path

from toolkit.drill.line import Drill, drill_folder
from toolkit.drill.scenario import load_scenario
from toolkit.drill.steady import TARGET
from toolkit.notebook.desk import Desk, open_desk
from toolkit.notebook.parameters import require_declared_parameters
from toolkit.playbook import load_playbook


def begin_drill(scenario: str, seed: int, folder: str = "", operator: str = "responder") -> tuple[Drill, Desk]:
    """Start a sandbox under traffic and watch it; returns the drill and a desk on its incident, not yet opened.

    The sandbox ends with this process at the latest. UsageError for an unknown scenario or parameter, or a folder that
    exists.
    """
    require_declared_parameters()
    chosen = load_scenario(scenario)
    reports = load_playbook().folder / "reports"
    drill = Drill(chosen, seed, Path(folder) if folder else drill_folder(reports, scenario, seed))
    drill.start()
    desk = open_desk("10_drill", incident=str(drill.folder), target=TARGET, operator=operator)
    return drill, desk

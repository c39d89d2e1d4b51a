"""The commands that a person can copy: what carries a plan out, by notebook or by the command line. Pure text."""

import shlex

from toolkit.adapters.systems import Systems
from toolkit.incident import Incident
from toolkit.rollback.plan import Plan


def notebook_command(plan: Plan, systems: Systems, incident: Incident) -> str:
    """What carries this plan out by papermill."""
    parameters = {"incident": str(incident.folder.resolve()), "target": plan.target} | _wish(plan)
    parameters["execute"] = "True"
    if systems.target.production:
        parameters["confirm"] = plan.service
    output = incident.folder.resolve() / "notebooks" / "03_rollback.ipynb"
    words = ["papermill", "notebooks/03_rollback.ipynb", str(output)]
    words += [word for name, value in parameters.items() for word in ("-p", name, value)]
    return shlex.join(words)


def _wish(plan: Plan) -> dict[str, str]:
    """The parameters of 03_rollback that ask for this plan."""
    wish: dict[str, str] = {}
    if plan.kind == "emergency":
        wish["full_emergency"] = "True"
    if plan.restores is not None:
        wish["backup_restore"] = plan.restores.source
    elif plan.ends_at is not None:
        wish["migration_target"] = str(plan.ends_at.to_version)
    if plan.deployment is not None:
        wish["deployment"] = plan.deployment
    return wish

"""The commands that a person can copy: what carries a plan out, by notebook or, where a notebook has no parameter for
what was asked, by the command line. Pure text."""

import shlex

from toolkit.adapters.systems import Systems
from toolkit.incident import Incident
from toolkit.rollback.plan import AS_PROPOSED, PLATFORM, Plan, Wish


def notebook_command(plan: Plan, systems: Systems, incident: Incident) -> str:
    """What carries this plan out: by papermill, or as it was asked for at a terminal."""
    if plan.wish is not None and (plan.wish.breach or plan.wish.rows_stay or plan.wish.restore != AS_PROPOSED):
        return _terminal_command(plan, plan.wish, systems, incident)
    parameters = {"incident": str(incident.folder.resolve()), "target": plan.target} | _wish(plan)
    parameters["execute"] = "True"
    if _wants_name(plan, systems):
        parameters["confirm"] = plan.service
    output = incident.folder.resolve() / "notebooks" / "03_rollback.ipynb"
    words = ["papermill", "notebooks/03_rollback.ipynb", str(output)]
    # papermill reads 1.10 as a number: what is no whole one goes raw
    raw = {name for name, value in parameters.items() if name == "migration_target" and not value.isdecimal()}
    words += [word for name, value in parameters.items() for word in ("-r" if name in raw else "-p", name, value)]
    return shlex.join(words)


def resume_command(plan: Plan, systems: Systems, incident: Incident) -> str:
    """What goes on with this plan by the command line."""
    words = ["emergency-rollback", "--resume", "--target", plan.target, "--incident", str(incident.folder.resolve())]
    words += ["--confirm", plan.service] if _wants_name(plan, systems) else []
    return shlex.join([*words, "--execute"])


def _wants_name(plan: Plan, systems: Systems) -> bool:
    return systems.target.production or plan.recovers is not None


def _wish(plan: Plan) -> dict[str, str]:
    """The parameters of 03_rollback that ask for this plan."""
    wish: dict[str, str] = {}
    if plan.kind == "emergency":
        wish["full_emergency"] = "True"
    if plan.recovers is not None:
        wish["backup_restore"] = f"{PLATFORM}:{plan.recovers.moment.isoformat()}"
    elif plan.restores is not None:
        wish["backup_restore"] = plan.restores.source
    elif plan.ends_at is not None:
        wish["migration_target"] = plan.ends_at.to_label or str(plan.ends_at.to_version)
    if plan.deployment is not None:
        wish["deployment"] = plan.deployment
    return wish


def _terminal_command(plan: Plan, wish: Wish, systems: Systems, incident: Incident) -> str:
    words = ["emergency-rollback"]
    words += ["--full-emergency"] if plan.kind == "emergency" else []
    words += [f"--breach={wish.breach}"] if wish.breach else []
    words += [f"--deployment={wish.deployment}"] if wish.deployment else []
    words += [f"--backup-restore={plan.restores.source}"] if plan.restores else []
    words += [f"--backup-restore={wish.source}"] if plan.recovers else []
    if plan.kind == "migration" and plan.ends_at is not None:
        words.append(f"--migration-target={plan.ends_at.to_version}")
    words += [f"--rows-stay={wish.rows_stay}"] if wish.rows_stay else []
    restore = wish.restore
    words += [f"--damage={restore.file}"] if restore.file else []
    words += [f"--damaged-at={restore.damaged_at.isoformat()}"] if restore.damaged_at else []
    words += [f"--way={restore.way}"] if restore.way else []
    words += ["--freeze"] if restore.freeze else []
    words += [f"--wanted-version={restore.wanted_version}"] if restore.wanted_version is not None else []
    words += ["--target", plan.target, "--incident", str(incident.folder.resolve()), "--execute"]
    words += ["--confirm", plan.service] if _wants_name(plan, systems) else []
    return shlex.join(words)

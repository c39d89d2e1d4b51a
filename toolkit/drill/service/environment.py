"""What a deployment was built with: its environment, read once at start-up and never again.

A changed variable reaches only what is built after it, as on the platform. Secrets are never printed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.errors import UsageError


@dataclass(frozen=True)
class Environment:
    """The variables of one deployment. `build` is the schema version that its code expects, `statement_log` a folder
    for its latest statements, '' for none; `edge_config` where the notice is read from, '' for nowhere."""

    listen_fd: int
    database_url: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    cron_secret: str = field(repr=False)
    build: int
    deployment: str
    processing_enabled: bool
    scheduler_enabled: bool
    maintenance: bool = False
    defect: str = ""
    statement_log: str = ""
    edge_config: str = field(default="", repr=False)

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Environment":
        """Raises UsageError, naming the variable, when one is missing or cannot be read."""
        return cls(
            listen_fd=_number(variables, "LISTEN_FD"),
            database_url=_text(variables, "DATABASE_URL"),
            webhook_secret=_text(variables, "WHOP_WEBHOOK_SECRET"),
            cron_secret=_text(variables, "CRON_SECRET"),
            build=_number(variables, "BUILD"),
            deployment=_text(variables, "DEPLOYMENT_ID"),
            processing_enabled=_switch(variables, "PROCESSING_ENABLED"),
            scheduler_enabled=_switch(variables, "SCHEDULER_ENABLED"),
            maintenance=_switch(variables, "MAINTENANCE_MODE", default="false"),
            defect=variables.get("DEFECT", ""),
            statement_log=variables.get("STATEMENT_LOG", ""),
            edge_config=variables.get("EDGE_CONFIG", ""),
        )


def _text(variables: Mapping[str, str], name: str) -> str:
    if not (value := variables.get(name, "")):
        raise UsageError(f"The variable {name} is not set", state="the service did not start")
    return value


def _number(variables: Mapping[str, str], name: str) -> int:
    value = _text(variables, name)
    if not value.isdecimal():
        raise UsageError(f"The variable {name} is no number", state="the service did not start")
    return int(value)


def _switch(variables: Mapping[str, str], name: str, default: str = "") -> bool:
    value = _text({name: default} | dict(variables), name).lower()
    if value not in ("true", "false"):
        raise UsageError(f"The variable {name} is neither true nor false", state="the service did not start")
    return value == "true"

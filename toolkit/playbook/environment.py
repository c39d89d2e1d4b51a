"""The only reader of the environment. What is read as a secret is masked from then on in all that is written."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from toolkit.errors import UsageError
from toolkit.places import DEFAULT_SANDBOX, sandbox_home
from toolkit.redaction import keep_secret

TARGET_VARIABLE = "TOOLKIT_TARGET"
PLAYBOOK_VARIABLE = "TOOLKIT_PLAYBOOK"
SANDBOX_VARIABLE = "TOOLKIT_SANDBOX"
ENVIRONMENT_FILE = "environment"


def target_named(name: str) -> str:
    """The target that is named, or that TOOLKIT_TARGET names. UsageError where none is."""
    if chosen := name or os.environ.get(TARGET_VARIABLE):
        return chosen
    raise UsageError("No target was named", state="nothing was done", next=f"--target NAME, or set {TARGET_VARIABLE}")


def database_url(variable: str) -> str:
    """The URL that an environment variable holds. UsageError where it holds none."""
    if not (url := os.environ.get(variable)):
        raise UsageError(f"{variable} is not set", state="nothing was done", next="export it, then repeat the command")
    return url


def pg_bindir(environ: Mapping[str, str] | None = None, *, major: int | None = None) -> Path | None:
    """The folder of an installed PostgreSQL's programs, named by PG_BINDIR; None for the embedded ones.

    With a `major`, the one that PG_BINDIR_<major> names (PG_BINDIR_16), and no other.
    """
    variable = "PG_BINDIR" if major is None else f"PG_BINDIR_{major}"
    value = (os.environ if environ is None else environ).get(variable)
    return Path(value) if value else None


def sandbox_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables of the sandbox that runs; {} where none does."""
    file = sandbox_home(environ.get(SANDBOX_VARIABLE, DEFAULT_SANDBOX)) / ENVIRONMENT_FILE
    if not file.exists():
        return {}
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)


def secret(value: str | None) -> SecretStr | None:
    """The value as a secret; None for one that is empty or missing."""
    if not value:
        return None
    keep_secret(value)
    return SecretStr(value)

"""What the stand-in is told by the process that starts it: one JSON file, readable by its owner only.

It owns the shape of that file and nothing else. Secrets are `SecretStr` from the first moment, so that no error or log
line can show them.
"""

import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from toolkit.errors import UsageError


class PlatformConfig(BaseModel):
    """The stand-in's configuration.

    `api_fd` and `production_fd` are bound (or listening) TCP sockets that this process inherited; `api_url` and
    `production_url` are how others reach them. `environment` holds the project's variables at the start.
    `builds` can be built. `database_url` is a superuser's: a deployment that is built gets a role of its own there,
    with `role_mark` as its comment, and that role's URL as DATABASE_URL; where it is None, neither. `past_builds` went
    live in this order; production points at the last. `service_argv` starts a deployment's service; None is the drill's
    own. `edge_config` is a store that deployments read with `edge_config_token`; '' is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    project_id: str
    project_name: str = "churn-saver"
    team_id: str
    token: SecretStr
    api_fd: int
    production_fd: int
    api_url: str
    production_url: str
    service_log: Path
    environment: dict[str, SecretStr]
    builds: list[int] = Field(min_length=1)
    database_url: SecretStr | None = None
    role_mark: str = ""
    past_builds: list[int] = Field(min_length=1)
    plan: Literal["hobby", "pro"] = "pro"
    service_argv: list[str] | None = None
    start_timeout_s: float = Field(default=30.0, gt=0)
    edge_config: str = ""
    edge_config_token: SecretStr | None = None
    function_timeout_s: float = Field(default=15.0, gt=0)
    build_s: float = Field(default=0.3, ge=0)

    @property
    def argv(self) -> list[str]:
        """The words that start a deployment's service process."""
        return self.service_argv or [sys.executable, "-m", "toolkit.drill.service"]


def read_config(path: Path) -> PlatformConfig:
    """The configuration in `path`. Raises UsageError, which names the wrong key and never a value."""
    try:
        return PlatformConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"The platform's configuration cannot be read: {error.strerror}", target=path.name) from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise UsageError(f"The platform's configuration is wrong: {wrong}", target=path.name) from None

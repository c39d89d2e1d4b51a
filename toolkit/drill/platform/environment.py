"""The project's environment variables, with the vendor's rules: one value for each key and target.

A change reaches only what is built after it. Values of the types `encrypted` and `sensitive` are never given back.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from toolkit.drill.platform.refusal import Refused

TARGETS = ("production", "preview", "development")
TYPES = ("system", "encrypted", "plain", "sensitive", "secret")


@dataclass(frozen=True)
class Variable:
    """One variable. `sealed` is what is shown in place of an encrypted value: noise, not made from the value."""

    id: str
    key: str
    value: str = field(repr=False)
    type: str
    targets: tuple[str, ...]
    created_ms: int
    updated_ms: int
    sealed: str

    def shown(self) -> dict[str, object]:
        """As the API lists it."""
        value = self.value if self.type == "plain" else "" if self.type == "sensitive" else self.sealed
        return {
            "id": self.id,
            "key": self.key,
            "value": value,
            "type": self.type,
            "target": list(self.targets),
            "configurationId": None,
            "createdAt": self.created_ms,
            "updatedAt": self.updated_ms,
            "decrypted": self.type == "plain",
            "securityIssues": [],
        }


class Environment:
    """All variables of the project. Raises Refused as the API answers."""

    def __init__(self) -> None:
        self._variables: dict[str, Variable] = {}

    def all(self, target: str | None = None) -> list[Variable]:
        """Every variable, or those of one target; newest first."""
        chosen = (v for v in self._variables.values() if target is None or target in v.targets)
        return sorted(chosen, key=lambda v: v.created_ms, reverse=True)

    def snapshot(self, target: str) -> dict[str, str]:
        """Key to value for what a deployment of this target is built with."""
        return {v.key: v.value for v in self._variables.values() if target in v.targets}

    def get(self, variable_id: str) -> Variable:
        if variable_id not in self._variables:
            raise Refused(404, "not_found", "Environment Variable not found.")
        return self._variables[variable_id]

    def create(
        self, key: str, value: str, type_: str, targets: Collection[str], *, now_ms: int, upsert: bool = False
    ) -> Variable:
        """Add a variable; with `upsert`, take over the one that has this key and any of these targets."""
        wanted = _checked(key, type_, targets)
        clash = self._clash(key, wanted)
        if clash and not upsert:
            raise Refused(
                400,
                "ENV_CONFLICT",
                f"Another Environment Variable with the Name {key} and Environment {', '.join(wanted)} exists in your "
                "project, which is currently being used.",
                {"envVarKey": key},
            )
        if clash:
            return self._store(
                replace(clash, value=value, type=type_, targets=wanted, updated_ms=now_ms, sealed=_noise())
            )
        identity = secrets.token_urlsafe(12).replace("-", "a").replace("_", "b")
        return self._store(Variable(identity, key, value, type_, wanted, now_ms, now_ms, _noise()))

    def edit(
        self,
        variable_id: str,
        *,
        now_ms: int,
        key: str | None = None,
        value: str | None = None,
        type_: str | None = None,
        targets: Collection[str] | None = None,
    ) -> Variable:
        """Change what is given, keep the rest. A sensitive variable stays sensitive."""
        old = self.get(variable_id)
        if old.type == "sensitive" and type_ not in (None, "sensitive"):
            raise Refused(400, "bad_request", "You cannot change the type of a Sensitive Environment Variable.")
        wanted = _checked(key or old.key, type_ or old.type, old.targets if targets is None else targets)
        clash = self._clash(key or old.key, wanted)
        if clash and clash.id != old.id:
            raise Refused(400, "ENV_CONFLICT", "Another Environment Variable with this Name and Environment exists.")
        return self._store(
            replace(
                old,
                key=key or old.key,
                value=old.value if value is None else value,
                type=type_ or old.type,
                targets=wanted,
                updated_ms=now_ms,
                sealed=_noise(),
            )
        )

    def remove(self, variable_id: str) -> Variable:
        gone = self.get(variable_id)
        del self._variables[variable_id]
        return gone

    def _clash(self, key: str, targets: tuple[str, ...]) -> Variable | None:
        same_key = (v for v in self._variables.values() if v.key == key)
        return next((v for v in same_key if set(v.targets) & set(targets)), None)

    def _store(self, variable: Variable) -> Variable:
        self._variables[variable.id] = variable
        return variable


def _checked(key: str, type_: str, targets: Collection[str]) -> tuple[str, ...]:
    if not key or not key.replace("_", "a").isalnum() or not key.isascii() or key[0].isdigit():
        raise Refused(
            400,
            "INVALID_KEY",
            "The name contains invalid characters. Only letters, digits, and underscores are allowed.",
        )
    if type_ not in TYPES:
        raise Refused(400, "bad_request", f"Invalid request: `type` should be one of {', '.join(TYPES)}.")
    wanted = tuple(target for target in TARGETS if target in set(targets))
    if not wanted or set(targets) - set(TARGETS):
        raise Refused(400, "bad_request", f"Invalid request: `target` should be of {', '.join(TARGETS)}.")
    if type_ == "sensitive" and "development" in wanted:
        raise Refused(400, "bad_request", "You cannot set a Sensitive Environment Variable's target to development.")
    return wanted


def _noise() -> str:
    return secrets.token_urlsafe(48)

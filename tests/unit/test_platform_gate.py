"""The stand-in's variables, its gate (token, team, limit, misbehaviour) and its configuration, without a socket."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from toolkit.drill.platform.config import read_config
from toolkit.drill.platform.environment import Environment
from toolkit.drill.platform.gate import Gate, Limit, Misbehaviour
from toolkit.drill.platform.refusal import Refused
from toolkit.errors import UsageError


class TestVariables:
    def test_a_key_is_there_once_for_each_target(self) -> None:
        env = Environment()
        env.create("K", "a", "plain", ["production"], now_ms=1)
        env.create("K", "b", "plain", ["preview"], now_ms=1)
        with pytest.raises(Refused) as refused:
            env.create("K", "c", "plain", ["production", "development"], now_ms=2)
        assert (refused.value.status, refused.value.code) == (400, "ENV_CONFLICT")
        assert (env.snapshot("production"), env.snapshot("preview")) == ({"K": "a"}, {"K": "b"})

    def test_upsert_takes_the_old_one_over(self) -> None:
        env = Environment()
        old = env.create("K", "a", "plain", ["production"], now_ms=1)
        new = env.create("K", "b", "encrypted", ["production"], now_ms=2, upsert=True)
        assert new.id == old.id
        assert env.snapshot("production") == {"K": "b"}

    def test_an_edit_keeps_what_it_does_not_name(self) -> None:
        env = Environment()
        old = env.create("K", "a", "sensitive", ["production", "preview"], now_ms=1)
        env.edit(old.id, value="", now_ms=2)
        assert env.snapshot("preview") == {"K": ""}
        assert env.get(old.id).type == "sensitive"
        with pytest.raises(Refused):
            env.edit(old.id, type_="plain", now_ms=3)

    @pytest.mark.parametrize(
        ("key", "type_", "targets"),
        [
            ("1K", "plain", ["production"]),
            ("K-K", "plain", ["production"]),
            ("", "plain", ["production"]),
            ("K", "odd", ["production"]),
            ("K", "plain", []),
            ("K", "plain", ["production", "moon"]),
            ("K", "sensitive", ["development"]),
        ],
    )
    def test_what_is_refused(self, key: str, type_: str, targets: list[str]) -> None:
        with pytest.raises(Refused) as refused:
            Environment().create(key, "v", type_, targets, now_ms=1)
        assert refused.value.status == 400


class TestGate:
    def gate(self) -> Gate:
        return Gate(SecretStr("right"), "team_1", "sandbox")

    @pytest.mark.parametrize(
        ("header", "status"),
        [(None, 401), ("", 401), ("Basic right", 401), ("Bearer", 401), ("Bearer ", 401), ("Bearer wrong", 403)],
    )
    def test_tokens(self, header: str | None, status: int) -> None:
        with pytest.raises(Refused) as refused:
            self.gate().check_token(header)
        assert (refused.value.status, refused.value.code) == (status, "forbidden")

    def test_the_right_token_and_team_pass(self) -> None:
        self.gate().check_token("bearer right")
        self.gate().check_team({"teamId": "team_1"})
        self.gate().check_team({})
        with pytest.raises(Refused):
            self.gate().check_team({"teamId": "team_2"})

    def test_the_limit_is_told_and_held(self) -> None:
        gate = self.gate()
        assert gate.count() == {}
        gate.set_limit(Limit(requests=2, window_s=60))
        assert [gate.count()["X-RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]
        with pytest.raises(Refused) as refused:
            gate.count()
        assert refused.value.status == 429
        assert set(refused.value.extra["limit"]) == {"remaining", "reset", "resetMs", "total"}  # type: ignore[call-overload]

    def test_orders_are_carried_out_as_often_as_ordered(self) -> None:
        gate = self.gate()
        gate.orders += [Misbehaviour(answer=500, count=2, path="/env"), Misbehaviour(answer="skipped")]
        assert gate.misbehave("/v6/deployments") is None
        for _ in range(2):
            with pytest.raises(Refused):
                gate.misbehave("/v10/projects/p/env")
        assert gate.misbehave("/v10/projects/p/env") is None
        assert [gate.spoil_alias_request(), gate.spoil_alias_request()] == ["skipped", None]


def test_a_wrong_configuration_is_told_without_its_values(tmp_path: Path) -> None:
    path = tmp_path / "platform.json"
    path.write_text(json.dumps({"token": "very-secret", "surprise": 1}))
    with pytest.raises(UsageError) as wrong:
        read_config(path)
    assert "surprise" in str(wrong.value)
    assert "very-secret" not in str(wrong.value)

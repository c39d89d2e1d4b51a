"""The playbook is typed: whatever is wrong in it is named, and no secret is ever shown."""

from pathlib import Path

import pytest

from toolkit.adapters.systems import connect
from toolkit.errors import PlatformError, UsageError
from toolkit.playbook import Severity, load_playbook, pg_bindir
from toolkit.redaction import keep_secret, redact

SOURCE = Path(__file__).parents[2] / "playbook.toml"

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://toolkit:very-secret-word@127.0.0.1:5432/churn",
    "SERVICE_URL": "http://127.0.0.1:1",
    "VERCEL_API_URL": "http://127.0.0.1:2",
    "VERCEL_TOKEN": "token-token-token",
    "VERCEL_PROJECT_ID": "prj_1",
    "VERCEL_TEAM_ID": "team_1",
    "WHOP_WEBHOOK_SECRET": "whop-secret-word",
    "CRON_SECRET": "cron-secret-word",
    "TOOLKIT_SANDBOX": "none-of-this-name",
}


def test_the_playbook_of_churn_saver_says_what_the_document_says() -> None:
    playbook = load_playbook(SOURCE)
    cadence = {severity: rule.update_every_minutes for severity, rule in playbook.severity.items()}
    assert cadence == {Severity.P0: 15, Severity.P1: 30, Severity.P2: 60, Severity.P3: 240}
    assert playbook.thresholds.error_rate == 0.10
    assert playbook.database.critical_tables == ("events", "recovery_cases", "creator_settings")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("error_rate = 0.10", "error_rate = 10", "thresholds.error_rate"),
        ("error_rate = 0.10", "eror_rate = 0.10", "thresholds.eror_rate: extra inputs"),
        ('name = "churn-saver"', "", "service.name: field required"),
        ("[service]", "[service", "is not TOML"),
        ('database_url_env = "PRODUCTION_DATABASE_URL"', 'database_url_env = "postgresql://x"', "database_url_env"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "playbook.toml"
    file.write_text(SOURCE.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=r"playbook\.toml") as raised:
        load_playbook(file)
    assert said in str(raised.value)


def test_a_target_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    playbook = load_playbook(SOURCE)
    with pytest.raises(UsageError, match="No target was named"):
        playbook.target(None, {})
    with pytest.raises(UsageError, match="no target 'prodcution'"):
        playbook.target("prodcution", ENVIRONMENT)
    assert playbook.target(None, ENVIRONMENT | {"TOOLKIT_TARGET": "sandbox"}).name == "sandbox"


def test_every_missing_variable_is_named_and_no_value_is_shown() -> None:
    given = {key: value for key, value in ENVIRONMENT.items() if key not in ("VERCEL_TOKEN", "CRON_SECRET")}
    with pytest.raises(UsageError, match="CRON_SECRET, VERCEL_TOKEN are not set") as raised:
        load_playbook(SOURCE).target("sandbox", given)
    assert "secret-word" not in str(raised.value)


def test_what_needs_only_the_database_goes_without_the_rest() -> None:
    playbook = load_playbook(SOURCE)
    target = playbook.target("sandbox", {"DATABASE_URL": ENVIRONMENT["DATABASE_URL"]}, database_only=True)
    assert sorted(target.unset.values()) == sorted(set(ENVIRONMENT) - {"DATABASE_URL", "TOOLKIT_SANDBOX"})
    systems = connect(playbook, target)
    with pytest.raises(PlatformError, match="VERCEL_TOKEN") as raised:
        systems.platform.deployments()
    assert raised.value.next
    assert systems.service.probe("/api/health").error == "its URL is not set"
    with pytest.raises(UsageError, match="DATABASE_URL is not set"):
        playbook.target("sandbox", {}, database_only=True)


def test_a_resolved_target_prints_no_secret_and_masks_them_from_then_on() -> None:
    target = load_playbook(SOURCE).target("sandbox", ENVIRONMENT)
    assert "secret" not in f"{target!r}{target!s}".replace("webhook_secret", "").replace("cron_secret", "")
    assert redact("it said very-secret-word and cron-secret-word") == "it said *** and ***"


def test_pg_bindir_names_an_installed_server() -> None:
    assert pg_bindir({}) is None
    assert pg_bindir({"PG_BINDIR": "/usr/lib/postgresql/18/bin"}) == Path("/usr/lib/postgresql/18/bin")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DATABASE_URL", "postgresql://toolkit:s3cr%zzt9@127.0.0.1:5432/churn", "database URL cannot be read"),
        ("DATABASE_URL", "s3cr zzt9", "database URL cannot be read"),
        ("VERCEL_API_URL", "http://api.internal", "settings of Vercel are wrong: api_url"),
        ("VERCEL_TOKEN", "s3cr zzt9", "settings of Vercel are wrong: token"),
        ("SERVICE_URL", "nonsense", "settings of the service are wrong: base_url"),
    ],
)
def test_a_setting_that_cannot_be_is_named_and_not_quoted(variable: str, value: str, said: str) -> None:
    playbook = load_playbook(SOURCE)
    with pytest.raises(UsageError, match=said) as raised:
        connect(playbook, playbook.target("sandbox", ENVIRONMENT | {variable: value}))
    assert "s3cr" not in str(raised.value) and raised.value.__cause__ is None


def test_a_password_that_only_libpq_can_read_is_masked_too() -> None:
    playbook = load_playbook(SOURCE)
    connect(playbook, playbook.target("sandbox", ENVIRONMENT | {"DATABASE_URL": "postgresql://u:s3cr[zz9@h/d"}))
    connect(playbook, playbook.target("sandbox", ENVIRONMENT | {"DATABASE_URL": "host=h user=u password=s3cr-zz7"}))
    assert redact("it said s3cr[zz9 and s3cr-zz7") == "it said *** and ***"


def test_a_plain_word_as_password_is_masked_in_a_url_and_not_in_names() -> None:
    keep_secret("postgresql://postgres:postgres@127.0.0.1:5432/postgres")
    assert redact("database postgres at postgresql://postgres:postgres@h/postgres") == (
        "database postgres at postgresql://postgres:***@h/postgres"
    )

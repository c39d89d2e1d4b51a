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


def test_it_says_who_is_told_what_as_the_document_does() -> None:
    playbook = load_playbook(SOURCE)
    rooms = playbook.channels.slack.rooms if playbook.channels.slack else {}
    assert [(room.name, room.purpose) for room in rooms.values()] == [
        ("#incidents", "Real-time incident updates"),
        ("#engineering", "Technical discussions"),
        ("#product", "Business impact assessment"),
    ]
    told = playbook.communication
    assert (told.status_page, told.mail_after_minutes) == ((Severity.P0, Severity.P1), 60)
    assert [(each.audience, each.severities) for each in told.stakeholders] == [
        ("Executives", (Severity.P0,)),
        ("Department heads", (Severity.P1,)),
        ("Team leads", (Severity.P2,)),
    ]
    assert [contact.role for contact in playbook.contacts_of(playbook.escalation[-1].roles)] == [
        "CTO",
        "VP Engineering",
    ]
    assert {drill.every_months for drill in playbook.drills} == {1, 3, 12}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'roles = ["DevOps Lead", "Engineering Lead"]',
            'roles = ["Devops Lead"]',
            "escalation.0.roles: Devops Lead is",
        ),
        ('incident_room = "incidents"', 'incident_room = "incident"', "channels.slack.incident_room: incident is"),
        ('slack_token_env = "PRODUCTION_SLACK_TOKEN"', 'slack_token_env = "xoxb-1"', "channels.slack_token_env"),
    ],
)
def test_who_is_named_must_be_there_and_a_secret_must_not(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "playbook.toml"
    file.write_text(SOURCE.read_text().replace(old, new, 1))
    with pytest.raises(UsageError) as raised:
        load_playbook(file)
    assert said in str(raised.value)


def test_a_channel_is_reached_as_its_target_names_it_and_never_by_another_targets_secret() -> None:
    playbook = load_playbook(SOURCE)
    given = ENVIRONMENT | {"PRODUCTION_SLACK_TOKEN": "xoxb-of-production", "SANDBOX_MAIL_HOST": "127.0.0.1"}
    drill = playbook.target("sandbox", given).channels
    assert drill.slack_token is None and drill.mail_host == "127.0.0.1"
    assert drill.unset["slack_token"] == "SANDBOX_SLACK_TOKEN"
    real = playbook.channel_access("production", given)
    assert real.slack_token and "xoxb" not in repr(real) and redact("xoxb-of-production") == "***"


def test_without_a_platform_none_of_its_variables_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "playbook.toml"
    file.write_text(SOURCE.read_text().replace("sandbox = true\n", 'sandbox = true\nplatform = "none"\n', 1))
    playbook = load_playbook(file)
    given = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("VERCEL")}
    with pytest.raises(PlatformError, match="names no hosting platform"):
        connect(playbook, playbook.target("sandbox", given)).platform.deployments()


def test_a_plain_word_as_password_is_masked_in_a_url_and_not_in_names() -> None:
    keep_secret("postgresql://postgres:postgres@127.0.0.1:5432/postgres")
    assert redact("database postgres at postgresql://postgres:postgres@h/postgres") == (
        "database postgres at postgresql://postgres:***@h/postgres"
    )

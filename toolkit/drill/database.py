"""The sandbox's database as production has it: roles apart, passwords, and nobody but `postgres` a superuser.

Owns the creation of the service's database and its roles on a server of our own. The roles of deployments come one by
one, as these are built. It never runs a migration.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from toolkit.drill.given import GivenServer
from toolkit.errors import DatabaseError
from toolkit.server import SUPERUSER, PostgresServer

OWNER, APPLICATION, TOOLKIT = "churn_owner", "churn_app", "toolkit"
NAME = "churn"
LOGINS = (OWNER, TOOLKIT)
ROLES = (APPLICATION, *LOGINS)
CONNECT_WITHIN_S = 5


@dataclass(frozen=True)
class ServiceDatabase:
    """One database and the URLs of those who use it. Every URL holds a password."""

    server: PostgresServer | GivenServer
    name: str
    passwords: Mapping[str, str] = field(repr=False)

    def url(self, role: str) -> str:
        return self.server.url(role, self.passwords[role], self.name)

    @property
    def admin_url(self) -> str:
        """The superuser's. Only faults and the final read use it."""
        return self.server.url(SUPERUSER, database=self.name)

    @property
    def owner_url(self) -> str:
        """For migrations and seeding."""
        return self.url(OWNER)

    @property
    def toolkit_url(self) -> str:
        """For the toolkit: a member of the owner that may see activity and end sessions, and no superuser."""
        return self.url(TOOLKIT)


def create_roles(server: PostgresServer | GivenServer, mark: str = "") -> dict[str, str]:
    """Create the roles with random passwords, by role: all, or none. Once for each server. `mark` is said on each."""
    passwords = _passwords()
    with psycopg.connect(server.url()) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(APPLICATION)))
        for role, password in passwords.items():
            conn.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            )
        conn.execute(sql.SQL("GRANT {}, pg_monitor, pg_signal_backend TO toolkit").format(sql.Identifier(OWNER)))
        conn.execute("ALTER ROLE toolkit CREATEDB")  # a restore may stand beside in a database of its own
        # It may act as the application to prove what that may not do, and is not one of those whom its policies bind.
        apart = sql.SQL(" WITH INHERIT FALSE" if conn.info.server_version >= 160000 else "")
        conn.execute(sql.SQL("GRANT {} TO toolkit{}").format(sql.Identifier(APPLICATION), apart))
        for role in ROLES if mark else ():
            conn.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(mark)))
    return passwords


def deployment_role(build: int, deployment: str) -> str:
    """As whom a deployment asks the database, by the playbook's `deployment_role`: 40 bytes at most, of 63."""
    return f"app_b{build}_{deployment}"


def create_deployment_role(admin_url: str, role: str, mark: str = "") -> str:
    """A login for one deployment, a member of the application's role. Returns its URL of the database of `admin_url`,
    a superuser's. Raises DatabaseError, with nothing made.
    """
    password = secrets.token_urlsafe(18)
    name, own = sql.Identifier(role), sql.Literal(password)
    try:
        with psycopg.connect(admin_url, connect_timeout=CONNECT_WITHIN_S) as conn:
            conn.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(name, own, sql.Identifier(APPLICATION))
            )
            if mark:
                conn.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(name, sql.Literal(mark)))
    except psycopg.Error as error:
        raise DatabaseError(f"No role could be made for a deployment: {error}", state="nothing was made") from None
    parts = urlsplit(admin_url)
    there = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(role, safe='')}:{quote(password, safe='')}@{there}").geturl()


def renew_passwords(server: PostgresServer) -> dict[str, str]:
    """Other random passwords for all of them, the superuser's too, on a copy of a server. By role, without that one."""
    passwords, own = _passwords(), secrets.token_urlsafe(24)
    with psycopg.connect(server.url(), autocommit=True) as conn:
        for role, password in {**passwords, SUPERUSER: own}.items():
            conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
    server.superuser_password = own
    return passwords


def _passwords() -> dict[str, str]:
    return {role: secrets.token_urlsafe(18) for role in LOGINS}


def create_database(
    server: PostgresServer | GivenServer, passwords: Mapping[str, str], name: str = NAME
) -> ServiceDatabase:
    """Create an empty database that the owner owns. The owner and the toolkit may create schemas in it."""
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
    database = ServiceDatabase(server, name, passwords)
    with psycopg.connect(database.admin_url, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION pg_stat_statements")
        conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(OWNER)))
    return database

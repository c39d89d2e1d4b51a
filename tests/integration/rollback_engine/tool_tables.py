"""The state tables of fifteen migration tools, created as the tools' own sources create them, with rows.

`CLEAN` has two migrations applied, `FAILED` a third that is half done, in the tool's own way to say so.
"""

from dataclasses import dataclass, field

SQITCH_ROW = "'churn', 'note', 'Ann', 'ann@example.org', '2024-01-01', 'Ann', 'ann@example.org'"


@dataclass(frozen=True)
class Tables:
    """`empty` creates, `clean` fills, `failed` makes of that a failure; what is expected then."""

    empty: str
    clean: str
    version: int | None
    applied: tuple[str, ...]
    failed: str = ""
    fails: tuple[str, ...] = ()
    where: tuple[str, str] = ("public", "schema_migrations")
    said: str = field(default="")


TOOLS = {
    "golang-migrate": Tables(
        "CREATE TABLE public.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)",
        "INSERT INTO schema_migrations VALUES (2, false)",
        2,
        (),
        "UPDATE schema_migrations SET version = 3, dirty = true",
        ("3",),
    ),
    "dbmate": Tables(
        "CREATE TABLE public.schema_migrations (version varchar NOT NULL PRIMARY KEY)",
        "INSERT INTO schema_migrations VALUES ('20240102000000'), ('20240101000000')",
        20240102000000,
        ("20240101000000", "20240102000000"),
    ),
    "the Supabase CLI": Tables(
        """
        CREATE SCHEMA supabase_migrations;
        CREATE TABLE supabase_migrations.schema_migrations (version text NOT NULL PRIMARY KEY);
        ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN statements text[];
        ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN name text;
        """,
        """
        INSERT INTO supabase_migrations.schema_migrations VALUES
            ('20240101000000', ARRAY['CREATE TABLE a ()'], 'a'), ('20240102000000', NULL, 'b')
        """,
        20240102000000,
        ("20240101000000", "20240102000000"),
        where=("supabase_migrations", "schema_migrations"),
    ),
    "node-pg-migrate": Tables(
        "CREATE TABLE pgmigrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL)",
        """
        INSERT INTO pgmigrations (name, run_on) VALUES
            ('1700000000000_a', '2024-01-01'), ('1700000000001_b', '2024-01-01')
        """,
        1700000000001,
        ("1700000000000_a", "1700000000001_b"),
        where=("public", "pgmigrations"),
    ),
    "Flyway": Tables(
        """
        CREATE TABLE flyway_schema_history (
            installed_rank integer NOT NULL CONSTRAINT flyway_schema_history_pk PRIMARY KEY,
            version varchar(50), description varchar(200) NOT NULL, type varchar(20) NOT NULL,
            script varchar(1000) NOT NULL, checksum integer, installed_by varchar(100) NOT NULL,
            installed_on timestamp NOT NULL DEFAULT now(), execution_time integer NOT NULL, success boolean NOT NULL
        )
        """,
        """
        INSERT INTO flyway_schema_history VALUES
            (1, '1', 'a', 'SQL', 'V1__a.sql', 11, 'ann', now(), 5, true),
            (2, NULL, 'views', 'SQL', 'R__views.sql', 12, 'ann', now(), 5, true),
            (3, '2', 'b', 'SQL', 'V2__b.sql', -13, 'ann', now(), 5, true),
            (4, '3', 'c', 'SQL', 'V3__c.sql', 14, 'ann', now(), 5, true),
            (5, '3', 'c', 'UNDO_SQL', 'U3__c.sql', 15, 'ann', now(), 5, true)
        """,
        2,
        ("1", "2"),
        "INSERT INTO flyway_schema_history VALUES (6, '3', 'c', 'SQL', 'V3__c.sql', 14, 'ann', now(), 5, false)",
        ("3",),
        ("public", "flyway_schema_history"),
    ),
    "Liquibase": Tables(
        """
        CREATE TABLE databasechangelog (
            id varchar(255) NOT NULL, author varchar(255) NOT NULL, filename varchar(255) NOT NULL,
            dateexecuted timestamp NOT NULL, orderexecuted integer NOT NULL, exectype varchar(10) NOT NULL,
            md5sum varchar(35), description varchar(255), comments varchar(255), tag varchar(255),
            liquibase varchar(20), contexts varchar(255), labels varchar(255), deployment_id varchar(10)
        );
        CREATE TABLE databasechangeloglock (
            id integer NOT NULL PRIMARY KEY, locked boolean NOT NULL, lockgranted timestamp, lockedby varchar(255)
        );
        INSERT INTO databasechangeloglock VALUES (1, false);
        """,
        """
        INSERT INTO databasechangelog (id, author, filename, dateexecuted, orderexecuted, exectype, md5sum) VALUES
            ('1', 'ann', 'log.sql', now(), 1, 'EXECUTED', '9:x'), ('2', 'ann', 'log.sql', now(), 2, 'MARK_RAN', '9:y')
        """,
        2,
        ("log.sql::1::ann", "log.sql::2::ann"),
        """
        INSERT INTO databasechangelog (id, author, filename, dateexecuted, orderexecuted, exectype)
        VALUES ('3', 'ann', 'log.sql', now(), 3, 'FAILED')
        """,
        ("log.sql::3",),
        ("public", "databasechangelog"),
    ),
    "Alembic": Tables(
        """
        CREATE TABLE alembic_version (
            version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
        )
        """,
        "INSERT INTO alembic_version VALUES ('ae1027a6acf0')",
        None,
        (),
        where=("public", "alembic_version"),
        said="version ae1027a6acf0, clean",
    ),
    "Prisma": Tables(
        """
        CREATE TABLE _prisma_migrations (
            id varchar(36) PRIMARY KEY NOT NULL, checksum varchar(64) NOT NULL, finished_at timestamptz,
            migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
            started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0
        )
        """,
        """
        INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, rolled_back_at) VALUES
            ('a', 'x', NULL, '20240101000000_a', now()), ('b', 'x', now(), '20240101000000_a', NULL),
            ('c', 'y', now(), '20240102000000_b', NULL)
        """,
        20240102000000,
        ("20240101000000_a", "20240102000000_b"),
        "INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('d', 'z', '20240103000000_c')",
        ("20240103000000_c",),
        ("public", "_prisma_migrations"),
    ),
    "Knex": Tables(
        """
        CREATE TABLE knex_migrations (
            id serial PRIMARY KEY, name varchar(255), batch integer, migration_time timestamptz
        );
        CREATE TABLE knex_migrations_lock (index serial PRIMARY KEY, is_locked integer);
        INSERT INTO knex_migrations_lock (is_locked) VALUES (0);
        """,
        """
        INSERT INTO knex_migrations (name, batch, migration_time) VALUES
            ('20240101000000_a.js', 1, now()), ('20240102000000_b.js', 1, now())
        """,
        20240102000000,
        ("20240101000000_a.js", "20240102000000_b.js"),
        where=("public", "knex_migrations"),
    ),
    "Drizzle": Tables(
        """
        CREATE SCHEMA drizzle;
        CREATE TABLE drizzle.__drizzle_migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint);
        """,
        "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('x', 1700000000000), ('y', 1700000000001)",
        1700000000001,
        ("1700000000000", "1700000000001"),
        where=("drizzle", "__drizzle_migrations"),
    ),
    "sqitch": Tables(
        """
        CREATE SCHEMA sqitch;
        CREATE TABLE sqitch.projects (
            project text PRIMARY KEY, uri text UNIQUE, created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            creator_name text NOT NULL, creator_email text NOT NULL
        );
        CREATE TABLE sqitch.changes (
            change_id text PRIMARY KEY, script_hash text, change text NOT NULL,
            project text NOT NULL REFERENCES sqitch.projects (project) ON UPDATE CASCADE, note text NOT NULL DEFAULT '',
            committed_at timestamptz NOT NULL DEFAULT clock_timestamp(), committer_name text NOT NULL,
            committer_email text NOT NULL, planned_at timestamptz NOT NULL, planner_name text NOT NULL,
            planner_email text NOT NULL, UNIQUE (project, script_hash)
        );
        CREATE TABLE sqitch.tags (
            tag_id text PRIMARY KEY, tag text NOT NULL,
            project text NOT NULL REFERENCES sqitch.projects (project) ON UPDATE CASCADE,
            change_id text NOT NULL REFERENCES sqitch.changes (change_id) ON UPDATE CASCADE,
            note text NOT NULL DEFAULT '', committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            committer_name text NOT NULL, committer_email text NOT NULL, planned_at timestamptz NOT NULL,
            planner_name text NOT NULL, planner_email text NOT NULL, UNIQUE (project, tag)
        );
        CREATE TABLE sqitch.dependencies (
            change_id text NOT NULL REFERENCES sqitch.changes (change_id) ON UPDATE CASCADE ON DELETE CASCADE,
            type text NOT NULL, dependency text NOT NULL,
            dependency_id text REFERENCES sqitch.changes (change_id) ON UPDATE CASCADE
                CONSTRAINT dependencies_check CHECK (
                    (type = 'require' AND dependency_id IS NOT NULL)
                    OR (type = 'conflict' AND dependency_id IS NULL)
                ),
            PRIMARY KEY (change_id, dependency)
        );
        CREATE TABLE sqitch.events (
            event text NOT NULL CONSTRAINT events_event_check CHECK (event IN ('deploy', 'revert', 'fail', 'merge')),
            change_id text NOT NULL, change text NOT NULL,
            project text NOT NULL REFERENCES sqitch.projects (project) ON UPDATE CASCADE, note text NOT NULL DEFAULT '',
            requires text[] NOT NULL DEFAULT '{}', conflicts text[] NOT NULL DEFAULT '{}',
            tags text[] NOT NULL DEFAULT '{}', committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            committer_name text NOT NULL, committer_email text NOT NULL, planned_at timestamptz NOT NULL,
            planner_name text NOT NULL, planner_email text NOT NULL, PRIMARY KEY (change_id, committed_at)
        );
        """,
        f"""
        INSERT INTO sqitch.projects (project, creator_name, creator_email) VALUES ('churn', 'Ann', 'ann@example.org');
        INSERT INTO sqitch.changes
            (change_id, script_hash, change, project, note, committer_name, committer_email, planned_at,
             planner_name, planner_email)
        VALUES ('c1', 'h1', 'events', {SQITCH_ROW}), ('c2', 'h2', 'cases', {SQITCH_ROW});
        INSERT INTO sqitch.events
            (event, change_id, change, project, note, committer_name, committer_email, planned_at,
             planner_name, planner_email)
        VALUES ('deploy', 'c1', 'events', {SQITCH_ROW}), ('deploy', 'c2', 'cases', {SQITCH_ROW});
        INSERT INTO sqitch.tags
            (tag_id, tag, change_id, project, note, committer_name, committer_email, planned_at,
             planner_name, planner_email)
        VALUES ('t1', '@v1', 'c2', {SQITCH_ROW});
        INSERT INTO sqitch.dependencies VALUES ('c2', 'require', 'events', 'c1'), ('c2', 'conflict', 'other', NULL);
        """,
        2,
        ("events", "cases"),
        f"""
        INSERT INTO sqitch.events
            (event, change_id, change, project, note, committer_name, committer_email, planned_at,
             planner_name, planner_email)
        VALUES ('fail', 'c3', 'widgets', {SQITCH_ROW})
        """,
        ("widgets",),
        ("sqitch", "changes"),
        "version 2 (cases), clean",
    ),
    "pgroll": Tables(
        """
        CREATE SCHEMA pgroll;
        CREATE TABLE pgroll.migrations (
            schema name NOT NULL, name text NOT NULL, migration jsonb NOT NULL,
            created_at timestamp NOT NULL DEFAULT clock_timestamp(), updated_at timestamp NOT NULL DEFAULT now(),
            parent text, done boolean NOT NULL DEFAULT false, resulting_schema jsonb NOT NULL DEFAULT '{}',
            migration_type varchar(32) DEFAULT 'pgroll',
            PRIMARY KEY (schema, name), FOREIGN KEY (schema, parent) REFERENCES pgroll.migrations (schema, name)
        );
        """,
        """
        INSERT INTO pgroll.migrations (schema, name, migration, parent, done, migration_type) VALUES
            ('public', '01_a', '{}', NULL, true, 'pgroll'), ('public', 'sql_1', '{}', '01_a', true, 'inferred'),
            ('public', '02_b', '{}', 'sql_1', true, 'pgroll')
        """,
        2,
        ("01_a", "02_b"),
        "INSERT INTO pgroll.migrations (schema, name, migration, parent) VALUES ('public', '03_c', '{}', '02_b')",
        ("03_c",),
        ("pgroll", "migrations"),
    ),
    "Atlas": Tables(
        """
        CREATE SCHEMA atlas_schema_revisions;
        CREATE TABLE atlas_schema_revisions.atlas_schema_revisions (
            version varchar NOT NULL PRIMARY KEY, description varchar NOT NULL, type bigint NOT NULL DEFAULT 2,
            applied bigint NOT NULL DEFAULT 0, total bigint NOT NULL DEFAULT 0, executed_at timestamptz NOT NULL,
            execution_time bigint NOT NULL, error text, error_stmt text, hash varchar NOT NULL, partial_hashes jsonb,
            operator_version varchar NOT NULL
        );
        """,
        """
        INSERT INTO atlas_schema_revisions.atlas_schema_revisions
            (version, description, applied, total, executed_at, execution_time, error, hash, operator_version)
        VALUES ('20240101000000', 'a', 2, 2, now(), 5, NULL, 'h', 'v'),
               ('20240102000000', 'b', 1, 1, now(), 5, '', 'h', 'v'),
               ('.atlas_cloud_identifier', 'x', 0, 0, now(), 0, NULL, '', 'v')
        """,
        20240102000000,
        ("20240101000000", "20240102000000"),
        """
        INSERT INTO atlas_schema_revisions.atlas_schema_revisions
            (version, description, applied, total, executed_at, execution_time, error, hash, operator_version)
        VALUES ('20240103000000', 'c', 1, 3, now(), 5, 'no such column', 'h', 'v')
        """,
        ("20240103000000",),
        ("atlas_schema_revisions", "atlas_schema_revisions"),
    ),
    "goose": Tables(
        """
        CREATE TABLE goose_db_version (
            id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint NOT NULL,
            is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now()
        );
        INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true);
        """,
        """
        INSERT INTO goose_db_version (version_id, is_applied)
        VALUES (1, true), (2, true), (3, true), (3, false), (2, false), (2, true)
        """,
        2,
        ("1", "2"),
        where=("public", "goose_db_version"),
    ),
    "diesel": Tables(
        """
        CREATE TABLE __diesel_schema_migrations (
            version varchar(50) PRIMARY KEY NOT NULL, run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
        )
        """,
        "INSERT INTO __diesel_schema_migrations VALUES ('20240102000000'), ('00000000000000')",
        20240102000000,
        ("00000000000000", "20240102000000"),
        where=("public", "__diesel_schema_migrations"),
    ),
}

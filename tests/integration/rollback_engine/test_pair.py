"""Does that deployment's code fit that schema? Asked of copies, and compared with what really happens there."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pairs import SCHEMAS, Versions, copy_of, broken, deployment_of, recorded

from toolkit.drill.service import statement_log
from toolkit.rollback.pair import PairResult, check_pair
from toolkit.rollback.pair.evidence import Evidence
from toolkit.server import PostgresServer

PAIRS = [(6, 6), (6, 9), (7, 6), (8, 7), (8, 8), (8, 9), (9, 8), (9, 9), (10, 9), (11, 10), (12, 11), (12, 12)]


@pytest.fixture(scope="module")
def versions(cluster: PostgresServer, role_passwords: dict[str, str]) -> Iterator[Versions]:
    made = Versions(cluster, role_passwords)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def known(versions: Versions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Evidence]]:
    """What is recorded of each build that a test asks about."""
    every, statement_log.OF_A_KIND_EVERY_S = statement_log.OF_A_KIND_EVERY_S, 0.0

    class Recorded(dict[int, Evidence]):
        def __missing__(self, build: int) -> Evidence:
            self[build] = recorded(versions, build, tmp_path_factory.mktemp("statements"))
            return self[build]

    yield Recorded()
    statement_log.OF_A_KIND_EVERY_S = every


def check(versions: Versions, evidence: Evidence, build: int, version: int, **more: object) -> PairResult:
    built_for = versions.signature(build)
    with versions.database(version) as there:
        return check_pair(
            copy_of(there),
            deployment_of(build),
            evidence,
            role=f"app_b{build}",
            schemas=SCHEMAS,
            **({"built_for": built_for, "version": version} | more),
        )


@pytest.mark.parametrize(("build", "version"), PAIRS)
def test_the_verdict_is_what_really_happens(
    versions: Versions, known: dict[int, Evidence], build: int, version: int
) -> None:
    evidence = known[build]
    fails = broken(versions, build, version)
    result = check(versions, evidence, build, version)
    print(result.sentence, fails, *result.rows(), sep="\n")
    assert result.verdict == ("incompatible" if fails else "fits"), (fails, result.sentence)

"""What another session's query may tell a journal: its words and names, never a value."""

import pytest

from toolkit.rollback.statement_text import LONGEST, without_values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT a FROM t WHERE b = 'jane' AND c > 42", "SELECT a FROM t WHERE b = $1 AND c > $2"),
        ("SELECT a -- for jane\n  FROM t /* id=77 */;", "SELECT a FROM t ;"),
        ("UPDATE t SET a = $2, b = 'x' WHERE id = $1", "UPDATE t SET a = $2, b = $3 WHERE id = $1"),
        ("SELECT $tag$ jane $tag$, E'j\\'ane', U&'jane', 1.5e3", "SELECT $1, $2, $3, $4"),
        ('LOCK TABLE public."Odd name" IN EXCLUSIVE MODE', 'LOCK TABLE public."Odd name" IN EXCLUSIVE MODE'),
        ("ALTER ROLE app PASSWORD 'hunter2'", "ALTER ROLE app PASSWORD $1"),
        ("SET app.user = jane", "SET app.user = …"),
        ("BEGIN; SET LOCAL app.user TO jane; SELECT 1", "BEGIN; SET LOCAL app.user TO …"),
        ("SET ROLE jane", "SET ROLE …"),
        ("ALTER ROLE app SET app.user = jane", "ALTER ROLE app SET app.user = …"),
        ("ALTER TABLE t RENAME a TO b", "ALTER TABLE t RENAME a TO b"),
        ("SELECT a FROM t WHERE b = 'cut off in the mid", "SELECT a FROM t WHERE b = …"),
        ("SELECT a /* cut off jane", "SELECT a …"),
        (r"SELECT 'it\'s jane', 'x'", "SELECT …"),
        ("<insufficient privilege>", ""),
        ("", ""),
    ],
)
def test_no_value_is_told(text: str, told: str) -> None:
    assert without_values(text) == told


def test_it_has_an_end() -> None:
    told = without_values(f"SELECT {', '.join(f'column_{n}' for n in range(500))}")
    assert len(told) == LONGEST and told.endswith("…")

"""Rows that statements of a migration changed and that undoing its schema leaves as they are. Pure.

A column or a table that the migration itself made goes with all that was written into it. Everything else that it
wrote, deleted or converted stays, and only a backup tells how it was before.
"""

from toolkit.rollback.damage import Damage
from toolkit.rollback.inverse import changes
from toolkit.rollback.merge.damaging_sql import touched_by
from toolkit.rollback.pair.catalogs import narrows, type_of
from toolkit.rollback.sql_lexer import Statement
from toolkit.verify.fingerprints import SchemaObject, SchemaSignature

# Whether these ran does not matter: they may run again.
AGAIN = ("set", "reset", "comment", "analyze", "vacuum", "grant", "revoke", "lock")
CONTROL = ("begin", "commit", "end", "start", "rollback", "abort", "savepoint", "release")
_DONE = {"overwritten": "changed", "deleted": "deleted from", "inserted": "inserted into"}


def left_by(
    statement: Statement, start: SchemaSignature, before: SchemaSignature, after: SchemaSignature
) -> tuple[str, ...]:
    """What of this statement's rows no statement undoes, in words such as `changed public.t.a`.

    `start` is the schema before the migration, `before` and `after` are those around the statement.
    """
    touched = touched_by([statement])
    if touched:
        return tuple(said for each in touched if (said := _left(each.damage, statement, start, before, after)))
    quiet = not changes(before, after) and not statement.tokens[0].is_word(*AGAIN, *CONTROL)
    return ("changed rows that its text does not tell",) if quiet and not _only_reads(statement) else ()


def _left(
    damage: Damage, statement: Statement, start: SchemaSignature, before: SchemaSignature, after: SchemaSignature
) -> str | None:
    table = _table_of(start, damage.table)
    if table is None:
        return None
    columns = [each for name in damage.columns if (each := _column(start, table, name)) is not None]
    if statement.begins("alter"):
        columns = [each for each in columns if _loses(each, statement, before, after)]
    if damage.columns and not columns:
        return None
    names = [each.name.rpartition(".")[2] for each in columns]
    return f"{_DONE[damage.verb]} {table.name}{'.' + ', '.join(names) if names else ''}"


def _only_reads(statement: Statement) -> bool:
    """A SELECT that calls nothing but set_config, as dumps have it."""
    if not statement.begins("select"):
        return False
    calls = [
        a.text for a, b in zip(statement.tokens, statement.tokens[1:], strict=False) if b.text == "(" and a.is_name
    ]
    return set(calls) <= {"set_config"}


def _loses(column: SchemaObject, statement: Statement, before: SchemaSignature, after: SchemaSignature) -> bool:
    """Whether converting it may have lost values: it became narrower, or an expression made them."""
    if any(token.is_word("using") for token in statement.tokens):
        return True
    was, now = (next((o for o in side.of("column").objects if o.name == column.name), None) for side in (before, after))
    return was is None or now is None or narrows(type_of(was), type_of(now))


def _table_of(signature: SchemaSignature, name: str) -> SchemaObject | None:
    """A table by its name as a statement says it, with its schema or without."""
    return next((each for each in signature.of("table").objects if _is(each.name, name)), None)


def _column(signature: SchemaSignature, table: SchemaObject, name: str) -> SchemaObject | None:
    wanted = f"{table.name}.{name}".replace('"', "")
    return next((each for each in signature.of("column").objects if each.name.replace('"', "") == wanted), None)


def _is(full: str, said: str) -> bool:
    bare = full.replace('"', "")
    return bare == said or ("." not in said and bare.rpartition(".")[2] == said)

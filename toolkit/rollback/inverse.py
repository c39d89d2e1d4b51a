"""From one schema back to the one before it, as SQL: what a statement brought is dropped, what it took is made again.

Pure: it knows two signatures and nothing of the statement between them. Names and definitions come from the catalog and
are quoted there. What holds data cannot be made again (a dropped column, a dropped table, a label of an enum): that is
said, never guessed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolkit.verify.fingerprints import SchemaObject, SchemaSignature

Key = tuple[str, str]

# What hangs on other things goes first, and comes back last.
ORDER = (
    *("grant", "default privilege", "owner", "policy", "row-level security", "rule", "trigger"),
    *("view", "materialised view", "constraint", "index", "column", "table", "sequence", "function"),
    *("domain", "composite type", "enum", "extension", "schema"),
)
DERIVED = ("column order",)
_COLUMN = re.compile(
    r"(?P<type>.*?)(?P<collation> COLLATE \S+)?(?P<strict> NOT NULL)?(?P<identity> GENERATED .* AS IDENTITY)?"
    r"(?P<stored> STORED| VIRTUAL)?(?: DEFAULT (?P<default>.*))?",
    re.DOTALL,
)
_POLICY = re.compile(
    r"(?P<mode>permissive|restrictive) (?P<command>\w+) to (?P<roles>.*?)(?: USING (?P<using>.*?))?"
    r"(?: WITH CHECK (?P<check>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Change:
    """One object in two schemas; None where it is not there."""

    before: SchemaObject | None
    after: SchemaObject | None

    @property
    def object(self) -> SchemaObject:
        found = self.after or self.before
        assert found is not None
        return found


@dataclass(frozen=True)
class Inverse:
    """Statements that lead back, in order, and what they cannot bring back, in words."""

    statements: tuple[str, ...]
    lost: tuple[str, ...]


def objects_of(signature: SchemaSignature) -> dict[Key, SchemaObject]:
    """By kind and name, without what follows from the others."""
    return {(each.kind, each.name): each for each in signature.objects if each.kind not in DERIVED}


def changes(before: SchemaSignature, after: SchemaSignature) -> dict[Key, Change]:
    """What is not the same in both, by kind and name."""
    old, new = objects_of(before), objects_of(after)
    found = {key: Change(old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())}
    return {key: change for key, change in found.items() if _told(change.before) != _told(change.after)}


def inverse(before: SchemaSignature, after: SchemaSignature) -> Inverse:
    """What makes `before` of `after` again."""
    found = changes(before, after)
    aside = _Aside(found)
    statements: list[str] = []
    lost: list[str] = []
    for change in sorted(found.values(), key=_when):
        if change.object in aside:
            continue
        said = _remade_view(change.before, before) if aside.is_reshaped(change) else _back(change)
        if said is None:
            lost.append(f"{change.object} {_happened(change)}, and no statement undoes that")
        statements += said or []
        if change.object.kind == "owner" and change.after is not None:  # rights move with the owner, and merge
            statements += _rights(change.object.name, before, "grant")
    return Inverse(tuple(statements), tuple(lost))


def _when(change: Change) -> tuple[bool, int, str]:
    """Drops first, from what hangs on others to what they hang on; then what is made again, the other way round."""
    place = ORDER.index(change.object.kind) if change.object.kind in ORDER else len(ORDER)
    again = change.after is None or change.object.kind in ("owner", "grant")
    return (again, -place if again else place, change.object.name)


class _Aside:
    """What comes and goes with something else, and needs no statement of its own."""

    def __init__(self, found: Mapping[Key, Change]) -> None:
        self._came = {_as_target(c.object) for c in found.values() if c.before is None}
        lost = [c.object for c in found.values() if c.after is None and c.object.kind in ("table", "column")]
        self._lost = {_as_target(each) for each in lost}
        self._wholes = {
            name
            for (kind, name), change in found.items()
            if kind in _WHOLE and (change.before is None or change.after is None)
        }
        self._constraints = {name for kind, name in found if kind == "constraint"}
        self._reshaped = {c.object.table for (kind, _), c in found.items() if kind == "column"} - self._wholes
        self._views = {name for kind, name in found if kind in ("view", "materialised view")}

    def __contains__(self, each: SchemaObject) -> bool:
        if each.kind == "owner":
            return each.name in self._came | self._lost
        if each.kind == "grant":
            return each.name.partition(" on ")[2].rpartition(" to ")[0] in self._came | self._lost
        if each.table is not None and each.kind not in _WHOLE and each.table in self._wholes | self._views:
            return True
        if each.kind == "index":  # that of a primary key or a unique constraint
            return f"{each.name.partition('.')[2]} on {each.table}" in self._constraints
        return False

    def is_reshaped(self, change: Change) -> bool:
        """Whether it is a view whose columns changed too: no REPLACE takes columns away."""
        both = change.before is not None and change.after is not None
        return both and change.object.kind == "view" and change.object.name in self._reshaped


_WHOLE = ("table", "view", "materialised view")


def _as_target(each: SchemaObject) -> str:
    """`table public.events`, as owners and grants name what they are about."""
    kinds = {"view": "table", "materialised view": "table", "enum": "type", "domain": "type"}
    return f"{kinds.get(each.kind, each.kind)} {each.name}"


def _remade_view(view: SchemaObject | None, before: SchemaSignature) -> list[str] | None:
    assert view is not None
    made = _made(view)
    return made and [*_dropped(view), *made, *_rights(f"table {view.name}", before, "owner", "grant")]


def _rights(target: str, before: SchemaSignature, *kinds: str) -> list[str]:
    """Statements for owner and grants of `table public.events`, the owner first: its own grants come with it."""
    found = [
        each
        for each in before.of(*kinds).objects
        if target in (each.name, each.name.partition(" on ")[2].rpartition(" to ")[0])
    ]
    found.sort(key=lambda each: each.kind, reverse=True)
    return [word for each in found for word in _made(each) or []]


def _back(change: Change) -> list[str] | None:
    """Statements that undo one change; None where none can."""
    each, before, after = change.object, change.before, change.after
    if before is None:
        return list(_dropped(each)) or None
    if after is None:
        return _made(before)
    if each.kind == "column":
        return list(_column_back(before, after))
    if each.kind in ("function", "owner", "row-level security"):
        return _made(before)
    if each.kind == "view":
        return [word.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1) for word in _made(before) or []] or None
    if each.kind in ("enum", "table", "sequence", "domain", "composite type", "extension", "grant"):
        return None
    again = _made(before)
    return None if again is None else [*_dropped(after), *again]


def _dropped(each: SchemaObject) -> Iterator[str]:
    own, on = _own_name(each), each.table
    simple = {"table": "TABLE", "view": "VIEW", "materialised view": "MATERIALIZED VIEW", "index": "INDEX"}
    simple |= {"sequence": "SEQUENCE", "enum": "TYPE", "composite type": "TYPE", "domain": "DOMAIN"}
    simple |= {"schema": "SCHEMA", "extension": "EXTENSION"}
    if each.kind in simple:
        yield f"DROP {'FOREIGN TABLE' if each.definition == 'foreign' else simple[each.kind]} IF EXISTS {each.name}"
    elif each.kind == "function":
        yield f"DROP ROUTINE IF EXISTS {each.name}"
    elif each.kind == "column":
        yield f"ALTER TABLE IF EXISTS {on} DROP COLUMN IF EXISTS {own}"
    elif each.kind == "constraint":
        owner = f"TABLE IF EXISTS {on}" if on else f"DOMAIN {each.name.partition(' on ')[2]}"
        yield f"ALTER {owner} DROP CONSTRAINT IF EXISTS {own}"
    elif each.kind in ("trigger", "rule", "policy"):
        yield f"DROP {each.kind.upper()} IF EXISTS {own} ON {on}"
    elif each.kind == "grant":
        yield f"REVOKE {_privilege(each)} FROM {_grantee(each)}"


def _made(each: SchemaObject) -> list[str] | None:
    """Statements that make an object again, which holds no data; None for one that does, or that cannot be told."""
    own, on, definition = _own_name(each), each.table, each.definition
    plain = definition.partition("; ")[0]
    match each.kind:
        case "index" | "trigger":
            return [plain] if plain == definition else None
        case "constraint" if on:
            valid = definition.replace("; not validated", "")
            return [f"ALTER TABLE {on} ADD CONSTRAINT {own} {valid}"] if "; " not in valid else None
        case "function":
            return [definition]
        case "view":
            return None if "; " in definition else [f"CREATE VIEW {each.name} AS {definition.rstrip(';')}"]
        case "rule":
            return [definition.rstrip(";")]
        case "policy":
            return _policy(each)
        case "row-level security":
            return list(_row_level_security(each))
        case "enum":
            return [f"CREATE TYPE {each.name} AS ENUM ({definition})"]
        case "schema":
            return [f"CREATE SCHEMA {each.name}"]
        case "owner":
            return [f"ALTER {_alterable(each.name)} OWNER TO {_quoted(definition)}"]
        case "grant":
            return [f"GRANT {_privilege(each)} TO {_grantee(each)}{' WITH GRANT OPTION' if definition else ''}"]
    return None


def _column_back(before: SchemaObject, after: SchemaObject) -> Iterator[str]:
    was, now = _COLUMN.fullmatch(before.definition), _COLUMN.fullmatch(after.definition)
    assert was is not None and now is not None, "every part is optional"
    alter = f"ALTER TABLE {before.table} ALTER COLUMN {_own_name(before)}"
    if now["identity"] and not was["identity"]:
        yield f"{alter} DROP IDENTITY"
    if now["default"] is not None and now["default"] != was["default"]:
        yield f"{alter} DROP DEFAULT"
    if (now["type"], now["collation"]) != (was["type"], was["collation"]):
        kind = f"{was['type']}{was['collation'] or ''}"
        yield f"{alter} TYPE {kind} USING {_own_name(before)}::{was['type']}"
    if was["default"] is not None and was["default"] != now["default"]:
        yield f"{alter} SET DEFAULT {was['default']}"
    if bool(was["strict"]) != bool(now["strict"]):
        yield f"{alter} {'SET' if was['strict'] else 'DROP'} NOT NULL"
    if was["identity"] and not now["identity"]:
        yield f"{alter} ADD{was['identity']}"


def _policy(each: SchemaObject) -> list[str] | None:
    said = _POLICY.fullmatch(each.definition)
    if said is None:
        return None
    using = f" USING ({said['using']})" if said["using"] else ""
    check = f" WITH CHECK ({said['check']})" if said["check"] else ""
    head = f"CREATE POLICY {_own_name(each)} ON {each.table} AS {said['mode'].upper()} FOR {said['command']}"
    roles = ", ".join(role if role == "PUBLIC" else _quoted(role) for role in said["roles"].split(", "))
    return [f"{head} TO {roles}{using}{check}"]


def _row_level_security(each: SchemaObject) -> Iterator[str]:
    yield f"ALTER TABLE {each.name} {'ENABLE' if 'enabled' in each.definition else 'DISABLE'} ROW LEVEL SECURITY"
    yield f"ALTER TABLE {each.name} {'' if 'forced' in each.definition else 'NO '}FORCE ROW LEVEL SECURITY"


def _own_name(each: SchemaObject) -> str:
    """A part's name without its table's."""
    if each.kind == "column" and each.table:
        return each.name[len(each.table) + 1 :]
    return each.name.partition(" on ")[0] if each.kind in ("constraint", "trigger", "rule", "policy") else each.name


def _privilege(each: SchemaObject) -> str:
    """`SELECT ON TABLE public.events` of `SELECT on table public.events to churn_app`."""
    privilege, _, rest = each.name.partition(" on ")
    kind, _, name = rest.rpartition(" to ")[0].partition(" ")
    if kind == "column":
        table, _, column = name.rpartition(".")
        return f"{privilege} ({column}) ON TABLE {table}"
    return f"{privilege} ON {'ROUTINE' if kind == 'function' else kind.upper()} {name}"


def _grantee(each: SchemaObject) -> str:
    role = each.name.rpartition(" to ")[2]
    return role if role == "PUBLIC" else _quoted(role)


def _alterable(name: str) -> str:
    kind, _, rest = name.partition(" ")
    return f"{'ROUTINE' if kind == 'function' else kind.upper()} {rest}"


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'


def _told(each: SchemaObject | None) -> str | None:
    return None if each is None else each.definition


def _happened(change: Change) -> str:
    return "was removed" if change.after is None else "was added" if change.before is None else "was changed"

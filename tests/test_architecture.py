"""Rules about the code that no linter knows: whose rows a statement may touch, and how long things may be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import optirelay
from optirelay.store._sql import statements

SOURCE = Path(optirelay.__file__).parent
STORE = SOURCE / "store"
AREAS = sorted(path.stem for path in (STORE / "queries").glob("*.sql"))
OF_ALL_TENANTS = "everyone"
LONGEST_MODULE = 400
LONGEST_FUNCTION = 40
RUNS = ("do", "count", "rows", "tuples", "row", "values", "value", "stream", "copy")

WITHOUT_TENANT = {
    # Temporary tables of one transaction: their rows meet a tenant's only in a statement that names it.
    "pages": {"incoming", "copy_incoming"},
    "opt_outs": {"said"},
}


def test_the_store_has_statements() -> None:
    assert OF_ALL_TENANTS in AREAS
    assert len(AREAS) > 3


@pytest.mark.parametrize("area", [area for area in AREAS if area != OF_ALL_TENANTS])
def test_a_statement_speaks_of_its_tenant(area: str) -> None:
    exempt = WITHOUT_TENANT.get(area, set())
    assert exempt <= statements(area).keys(), f"{area}: an exemption for a statement that is gone"
    strangers = [
        name
        for name, body in statements(area).items()
        if name not in exempt and not speaks_of_tenant(without_comments(body))
    ]
    assert not strangers, f"queries/{area}.sql: {', '.join(strangers)}: may reach another tenant's rows"


def speaks_of_tenant(statement: str) -> bool:
    """It asks for the tenant, copies rows that name it, or makes a temporary table out of one that has the column."""
    if "%(tenant)s" in statement:
        return True
    copied = re.match(r"copy \w+ \(([^)]*)\) from stdin", statement)
    if copied:
        return "tenant" in copied[1].split(", ")
    made = re.match(r"create temporary table if not exists \w+ \(like (\w+)\)", statement)
    return made is not None and made[1] in tables_with_tenant()


def without_comments(statement: str) -> str:
    return re.sub(r"^--.*\n", "", statement, flags=re.MULTILINE).strip()


def tables_with_tenant() -> set[str]:
    migrations = "".join(path.read_text() for path in sorted((STORE / "migrations").rglob("*.sql")))
    return {
        name
        for name, columns in re.findall(r"create table (\w+) \((.*?)^\)", migrations, re.MULTILINE | re.DOTALL)
        if "tenant" in columns
    }


def test_every_statement_is_used_and_every_name_used_is_defined() -> None:
    defined = {(area, name) for area in AREAS for name in statements(area)}
    used = {pair for path in sorted(STORE.glob("*.py")) for pair in statements_used(path)}
    assert sorted(defined - used) == [], "nobody runs these"
    assert sorted(used - defined) == [], "these are run and not defined"


def statements_used(path: Path) -> Iterator[tuple[str, str]]:
    """(area, name) of each statement that a module runs; a class has one area, and so has each local variable `sql`."""
    tree = ast.parse(path.read_text())
    for top in tree.body:
        areas = {
            call.args[1].value
            for call in calls_in(top)
            if isinstance(call.func, ast.Name)
            and call.func.id == "Statements"
            and isinstance(call.args[1], ast.Constant)
        }
        for call in calls_in(top):
            name = run_by(call)
            if name is not None:
                assert len(areas) == 1, f"{path.name}, line {call.lineno}: whose statement is {name}?"
                yield str(*areas), name
        for look_up in ast.walk(top):
            match look_up:
                case ast.Subscript(
                    value=ast.Call(func=ast.Name(id="statements"), args=[ast.Constant(value=str(area))]),
                    slice=ast.Constant(value=str(name)),
                ):
                    yield area, name


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    return (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))


def run_by(call: ast.Call) -> str | None:
    """The name in `sql.do("name")`, `self._sql.rows(Shape, "name")`, `Asked("name", ...)` and the like."""
    match call.func:
        case ast.Name(id="Asked"):
            return str(ast.literal_eval(call.args[0]))
        case ast.Attribute(value=ast.Name(id="sql") | ast.Attribute(attr="_sql") | ast.Call(), attr=method):
            texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            return texts[0] if method in RUNS and texts else None
    return None


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path.relative_to(SOURCE).as_posix(): len(path.read_text().splitlines()) for path in modules()}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE}


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}: {length} lines"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not too_long, "\n".join(too_long)

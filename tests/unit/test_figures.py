"""The house in figures: short files, short functions, one name for one thing, tests that assert."""

import ast
import statistics
from collections import defaultdict

import pytest

from tests.unit.test_house import ROOMS, ROOT, tracked_files

PATHS = [path for path in tracked_files() if path.suffix == ".py"]
TREES = {path: ast.parse((ROOT / path).read_text(encoding="utf-8")) for path in PATHS}
PRODUCT = [path for path in PATHS if path.parts[0] in ROOMS]
MODULES = [path for path in PRODUCT if not path.name.startswith("__")]
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef

# What the outside calls by its name: commands, tasks, kinds of jobs, and a module's entry.
COMMANDS = {path for path in PRODUCT if path.parts[0] in ("cli", "workers")}
CONVENTIONS = {"main", "run", "serve"}
# Still to be mended: a name that three rooms use.
TWICE = {"Comparison"}


def n_lines(path):
    """How many lines a file has."""
    return len((ROOT / path).read_text(encoding="utf-8").splitlines())


def functions(path):
    """Every function of a file, methods and inner ones included."""
    return [node for node in ast.walk(TREES[path]) if isinstance(node, FUNCTIONS)]


def docstring(function):
    """The node of a function's docstring, or None."""
    first = function.body[0]
    is_one = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first.value if is_one and isinstance(first.value.value, str) else None


def height(node):
    """How many lines a node takes."""
    return node.end_lineno - node.lineno + 1


def length(function, *, with_sql):
    """How many lines a function has without its docstring, and without its SQL if so wished."""
    told = docstring(function)
    texts = [] if with_sql else [
        node for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node is not told
    ]  # fmt: skip
    sql = sum(height(node) for node in texts if height(node) > 1)
    return height(function) - (height(told) if told else 0) - sql


def test_files_are_short():
    """A file is one idea; what is longer holds two."""
    lines = {str(path): n_lines(path) for path in MODULES}

    assert {} == {path: n for path, n in lines.items() if n > 300}
    assert statistics.median(lines.values()) <= 120


def test_functions_are_short():
    """A function is read at one look; whole SQL may be longer than that."""
    every = [(path, each) for path in PRODUCT for each in functions(path)]
    without_sql = {f"{p}:{each.name}": length(each, with_sql=False) for p, each in every}

    assert {} == {name: n for name, n in without_sql.items() if n > 50}
    assert statistics.median(length(each, with_sql=True) for _, each in every) <= 9


def test_one_name_means_one_thing():
    """Who looks for a name finds one place."""
    places = defaultdict(list)
    for path in PRODUCT:
        for node in TREES[path].body:
            if isinstance(node, FUNCTIONS | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path)
    twice = {
        name: [str(path) for path in found]
        for name, found in places.items()
        if len(set(found) - COMMANDS) > 1 and name not in CONVENTIONS | TWICE
    }

    assert {} == twice


def asserts(node, helpers=frozenset()):
    """Whether something in this node can fail a test."""
    for each in ast.walk(node):
        if isinstance(each, ast.Assert):
            return True
        if isinstance(each, ast.Call):
            called = getattr(each.func, "attr", getattr(each.func, "id", ""))
            if called in helpers or called in {"raises", "warns", "expect", "fail"}:
                return True
    return False


@pytest.mark.parametrize(
    "path", [p for p in PATHS if p.name.startswith("test_")], ids=lambda path: str(path)
)
def test_every_test_asserts_something(path):
    """A test that can't fail proves nothing."""
    shared = [p for p in PATHS if p.parts[0] == "tests" and not p.name.startswith("test_")]
    helpers = {f.name for p in [path, *shared] for f in functions(p) if asserts(f)}
    tests = [each for each in functions(path) if each.name.startswith("test_")]

    assert [] == [each.name for each in tests if not asserts(each, helpers)]

"""Writes the tables of the README and of architecture.md from the code; cog runs it."""

from __future__ import annotations

import ast
from pathlib import Path

import typer.core
import typer.main

from cli import app

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "cli", "bench", "examples", "bot", "workers", "training", "answering", "retrieval", "core",
    "stack", "migrations",
)  # fmt: skip
# What lies in a room and is no module.
BESIDES = {
    "examples": {
        "company/": "the sample company: articles, guidelines, golden questions",
        "model/": "the small demo model and its card",
    },
    "migrations": {"schema.sql": "the sum of all migrations, for reading; a test proves it equal"},
}


def tree() -> str:
    """Return each room with its modules, each with the first sentence of its docstring."""
    lines = []
    for room in ROOMS:
        lines.append(f"{room + '/':<25}{_summary(ROOT / room / '__init__.py')}")
        found = {path.name: _summary(path) for path in _modules(ROOT / room)}
        found |= {f"{path.parent.name}/": _summary(path) for path in _packages(ROOT / room)}
        for name, summary in sorted((found | BESIDES.get(room, {})).items()):
            lines.append(f"  {name:<23}{summary}")
    return "```\n" + "\n".join(lines) + "\n```\n"


def commands() -> str:
    """Return the table of commands, each with the first sentence of its help."""
    rows = ["| command | what it does |", "|---|---|"]
    rows += _command_rows("ratchet", typer.main.get_group(app))
    return "\n".join(rows) + "\n"


def functions(room: str) -> str:
    """Return a room's modules with their public functions, classes and those's methods."""
    rows = ["| module | what others call |", "|---|---|"]
    for path in sorted((ROOT / room).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / room).with_suffix("").parts)
        if public := _public(ast.parse(path.read_text(encoding="utf-8"))):
            rows.append(f"| `{name.removesuffix('.__init__')}` | {', '.join(public)} |")
    return "\n".join(rows) + "\n"


def _modules(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.py") if not path.name.startswith("__")]


def _packages(folder: Path) -> list[Path]:
    return list(folder.glob("*/__init__.py"))


def _summary(path: Path) -> str:
    """Return the docstring's first paragraph as one line without its full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split()).removesuffix(".")


def _command_rows(prefix: str, command: typer.core.TyperGroup) -> list[str]:
    rows = []
    for name, each in sorted(command.commands.items()):
        if isinstance(each, typer.core.TyperGroup):
            rows += _command_rows(f"{prefix} {name}", each)
            continue
        given = [param for param in each.params if param.param_type_name == "argument"]
        words = [(param.metavar or str(param.name)).upper() for param in given]
        said = " ".join((each.help or "").split("\n\n")[0].split()).removesuffix(".")
        rows.append(f"| `{' '.join([prefix, name, *words])}` | {said} |")
    return rows


def _public(module: ast.Module) -> list[str]:
    found = []
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(node.name):
            found.append(f"`{_signature(node)}`")
        elif isinstance(node, ast.ClassDef) and _is_public(node.name):
            methods = [
                _signature(each, is_method=True)
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                and _is_public(each.name)
            ]
            found.append(f"`{node.name}`" + "".join(f" `.{method}`" for method in methods))
    return found


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool = False) -> str:
    args = node.args
    words = [each.arg for each in (*args.posonlyargs, *args.args)][1 if is_method else 0 :]
    words += [f"*{args.vararg.arg}"] if args.vararg else []
    words += ["*"] if args.kwonlyargs and not args.vararg else []
    words += [each.arg for each in args.kwonlyargs]
    words += [f"**{args.kwarg.arg}"] if args.kwarg else []
    is_value = any("property" in ast.unparse(each) for each in node.decorator_list)
    called = node.name if is_value else f"{node.name}({', '.join(words)})"
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    # Three brackets in a row would end a block of cog's.
    return (called + returned).replace("|", "or").replace("]]]", "]] ]")

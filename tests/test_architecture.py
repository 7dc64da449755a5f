"""The house rules that a program can check: who imports whom, what is pure, how long things are, what is explained."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tailrace
from tailrace import errors

PACKAGE = Path(tailrace.__file__).parent
ROOT = PACKAGE.parent.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 5

MANY_PARAMETERS: dict[str, str] = {
    "cli/__init__.py:serve": "one parameter an option of the command, as typer has it",
    "cli/bench.py:bench": "the same",
    "cli/doctor.py:doctor": "the same",
    "cli/publish.py:publish": "the same",
    "cli/tail.py:tail": "the same",
}
"""Functions with more parameters than the rest, and why."""

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
IMPURE = {
    *("asyncio", "anyio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib", "queue"),
    *("random", "secrets", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "starlette", "subprocess"),
    *("sys", "tempfile", "threading", "time", "urllib.request", "uuid", "uvicorn", "uvloop"),
}
CLOCKS = {"now", "utcnow", "today"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of a module with its name in full."""

    def inside(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name_of(path)}:{prefix}{child.name}", child
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from inside(child, f"{prefix}{child.name}.")

    yield from inside(parsed(path), "")


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its docstring left out."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        assert docstring.end_lineno is not None
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Parameters of a function, `self` and `cls` left out."""
    arguments = function.args
    named = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")])


def pure_modules() -> list[Path]:
    return [path for path in MODULES if name_of(path).startswith(("core/", "wire/"))]


def imported(path: Path) -> set[str]:
    """The modules that a module imports, and all that they are part of."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module, *[f"{node.module}.{alias.name}" for alias in node.names]}
    return names | {name.partition(".")[0] for name in names}


# ---- imports ------------------------------------------------------------------------------------------------


def test_imports_run_down_only() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    result = subprocess.run(
        [command, "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", pure_modules(), ids=name_of)
def test_core_and_wire_are_pure(path: Path) -> None:
    assert not imported(path) & IMPURE
    for node in ast.walk(parsed(path)):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith), node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CLOCKS, f"line {node.lineno} reads a clock"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input"}, f"line {node.lineno} does I/O"


# ---- size and names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MODULE_LINES_MAX, f"{lines} lines: split it"
    assert ast.get_docstring(parsed(path)), "a module begins with a docstring: what it is, where it stands"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_short(path: Path) -> None:
    too_long = {name: length(function) for name, function in functions(path) if length(function) > FUNCTION_LINES_MAX}
    assert not too_long


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_have_few_parameters(path: Path) -> None:
    many = {name for name, function in functions(path) if parameters(function) > PARAMETERS_MAX}
    assert many <= MANY_PARAMETERS.keys(), "make them a dataclass, or say in MANY_PARAMETERS why not"


def test_exceptions_to_the_rules_are_needed() -> None:
    """An exception for a function that has gone, or has been mended, goes too."""
    many = {name for path in MODULES for name, function in functions(path) if parameters(function) > PARAMETERS_MAX}
    assert many >= MANY_PARAMETERS.keys()


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = {
        path: {part.removesuffix(".py").strip("_") for part in path.relative_to(PACKAGE).parts} for path in MODULES
    }
    assert [name_of(path) for path, parts in named.items() if parts & VAGUE_NAMES] == []


# ---- explanations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_an_exception_to_a_lint_rule_gives_its_code_and_its_reason(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if "noqa" in line:
            assert re.search(r"# noqa: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*( - |\b)", line), f"line {number}"
        if "type: ignore" in line:
            assert re.search(r"# type: ignore\[[a-z-]+(, ?[a-z-]+)*\]", line), f"line {number}"


def error_classes() -> list[type[errors.TailraceError]]:
    found = [item for item in vars(errors).values() if inspect.isclass(item)]
    return [item for item in found if issubclass(item, errors.TailraceError)]


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_an_error_explains_itself(error: type[errors.TailraceError]) -> None:
    docstring = vars(error).get("__doc__")
    assert docstring, "its docstring is its default sentence"
    assert docstring.strip().endswith(".")
    assert error().sentence == docstring.strip()
    assert "code" in vars(error), "every error has a code of its own"
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert 400 <= error.status < 600


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in error_classes()]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("path", [PACKAGE / "log" / "limits.py", PACKAGE / "doors" / "limits.py"], ids=name_of)
def test_every_limit_is_explained(path: Path) -> None:
    [limits] = [node for node in parsed(path).body if isinstance(node, ast.ClassDef)]
    fields = 0
    for node, following in zip(limits.body, [*limits.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or "ClassVar" in ast.unparse(node.annotation):
            continue
        explained = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        assert explained, f"{ast.unparse(node.target)} has no line that says what it bounds"
        fields += 1
    assert fields > 5

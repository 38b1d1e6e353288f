"""No circles among the modules of the package, imports for types included."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sluice

PACKAGE = Path(sluice.__file__).parent


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str, is_package: bool, modules: set[str]) -> set[str]:
    """The modules of the package that this one imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".") if is_package else module.split(".")[:-1]
            base = parts[: len(parts) - node.level + 1] if node.level > 0 else []
            target = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            submodules = {f"{target}.{alias.name}" for alias in node.names} & modules
            found.update(submodules or {target})
    return (found & modules) - {module}


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_modules_import_each_other_in_no_circle() -> None:
    paths = [path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_pb2.py")]
    modules = {module_of(path) for path in paths}
    graph = {
        module_of(path): imports_of(path.read_text(), module_of(path), path.name == "__init__.py", modules)
        for path in paths
    }
    assert graph["sluice.client"] >= {"sluice.consumer.consumer", "sluice.producer.producer"}
    assert find_circle(graph) == []


@pytest.mark.parametrize("line", ["from .b import B", "from . import b", "from p.b import B", "import p.b"])
def test_circles_are_found_however_they_are_written(line: str) -> None:
    modules = {"p.a", "p.b"}
    source = f"if TYPE_CHECKING:\n    {line}"
    graph = {
        "p.a": imports_of(source, "p.a", False, modules),
        "p.b": imports_of("from .a import A", "p.b", False, modules),
    }
    assert set(find_circle(graph)) == modules

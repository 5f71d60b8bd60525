"""Imports point downwards only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "basewise"
LAYERS = [
    ["errors"],
    ["picture"],
    ["registry", "types"],
    ["stats", "store"],
    ["remote"],
    ["drawing"],
    ["sequence"],
    ["data"],
    ["motifs"],
    ["tokenize"],
    ["models"],
    ["train"],
    ["explainers"],
    ["checks"],
    ["evaluate"],
    ["biology"],
    ["study"],
    ["report"],
    ["cli"],
]
LEVEL = {name: i for i, names in enumerate(LAYERS) for name in names}
FILES = [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Layers a file imports from, wherever in the file the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("basewise"):
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("basewise.")}
    return found - {"__version__"}


def test_every_file_belongs_to_a_layer():
    assert {layer(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    here = layer(path)
    for there in imported(path):
        assert there == here or LEVEL[there] < LEVEL[here], f"{here} must not import {there}"


def test_a_wrong_import_would_be_found(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from basewise.cli import main\n    import basewise.study.run\n")
    assert imported(file) == {"cli", "study"}

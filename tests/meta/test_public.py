"""The public surface: sorted, documented, quick to import, run from the README as printed."""

import ast
import doctest
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import basewise

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "basewise").rglob("*.py"))


def test_public_names_are_sorted_and_are_the_table():
    assert basewise.__all__ == sorted(basewise.__all__) == sorted(basewise._PUBLIC)


@pytest.mark.parametrize("name", basewise.__all__)
def test_public_names_are_there_and_documented(name):
    found = getattr(basewise, name)
    assert not inspect.ismodule(found)
    assert inspect.getdoc(found)


@pytest.mark.parametrize("name", ["draw", "explain"])
def test_examples_show_what_happens(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = getattr(basewise, name)
    examples = doctest.DocTestFinder(recurse=False).find(found, name, globs={})
    done = [doctest.DocTestRunner().run(example) for example in examples]
    assert sum(each.attempted for each in done) > 3
    assert sum(each.failed for each in done) == 0


def test_public_functions_stay_functions_after_everything_is_imported():
    code = (
        "import basewise, importlib\n"
        "for home in set(basewise._PUBLIC.values()): importlib.import_module(home)\n"
        "import inspect\n"
        "print([n for n in basewise.__all__ if inspect.ismodule(getattr(basewise, n))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "code", ["import basewise", "import basewise.cli; basewise.cli.app"], ids=["import", "help"]
)
def test_heavy_libraries_wait_until_they_are_used(code):
    check = (
        f"import sys; {code}\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'matplotlib', 'pandas', 'scipy', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is_and_has_what_it_offers(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module starts with a docstring"
    if path.name == "__init__.py":
        return
    module = import_module(".".join(path.relative_to(ROOT / "src").with_suffix("").parts))
    for name in module.__all__:
        assert hasattr(module, name)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_foreign_code_is_executed(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "pickle.load", "pickle.loads"}
            if name == "torch.load":
                assert "weights_only=True" in ast.unparse(node)
        if isinstance(node, ast.keyword):
            assert node.arg != "trust_remote_code"

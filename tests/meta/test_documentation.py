"""What the README and the how-to pages show is what happens."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "scaling.md",
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_blocks_run_in_order_and_print_what_is_shown(page, tmp_path, monkeypatch):
    """A `text` block shows what the `python` block before it prints."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__page__"}
    printed = ""
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python" and not text.startswith("# skip"):
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown):
                exec(compile(text, str(page), "exec"), names)
            printed = shown.getvalue()
        elif language == "text":
            assert text.strip() == printed.strip()


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=str)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_commands_in_the_readme_exist():
    from basewise.cli import _PANELS

    known = {name for commands in _PANELS.values() for name in commands}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"^basewise (\w+)", text, re.MULTILINE))
    assert used
    assert used <= known

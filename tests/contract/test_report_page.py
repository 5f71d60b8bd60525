"""The page: one whole file, well-formed, from disk alone, safe with hostile names."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from basewise.errors import StoreError
from basewise.report import SECTIONS, write_report
from synthetic_run import HOSTILE, make_run

VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}


class Reader(HTMLParser):
    """Checks that tags close as they opened, and keeps what tests ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make_run(tmp_path_factory.mktemp("run")))


def test_the_page_stands_in_the_folder_of_the_run_and_is_small(page: Path) -> None:
    assert page.parts[-2:] == ("report", "index.html")
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]
    assert page.stat().st_size < 1_000_000


def test_the_contents_name_every_section_in_order(page: Path) -> None:
    reader = read(page)
    links = [a["href"] for tag, a in reader.tags if tag == "a" and (a["href"] or "")[0] == "#"]
    sections = [f"#{a['id']}" for tag, a in reader.tags if tag == "section"]
    assert sections == links[1:]  # the first skips to the report
    assert sections == [
        "#question",
        "#quality",
        "#audit",
        "#attributions",
        "#localisation",
        "#controls",
        "#agreement",
        "#ranking",
        "#biology",
        "#as_published",
        "#interventions",
        "#stretches",
        "#methods",
        "#limits",
    ]
    elsewhere = {"bases", "conservation", "genomes"}  # of runs of other data
    assert {name[1:] for name in sections} == set(SECTIONS.names()) - elsewhere


def test_ids_are_unique_and_every_reference_has_its_place(page: Path) -> None:
    reader = read(page)
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    used = {a["href"] for _, a in reader.tags if a.get("href")}
    assert {name[1:] for name in used if name} <= set(ids)


def test_nothing_is_loaded_from_anywhere(page: Path) -> None:
    reader = read(page)
    for tag, attributes in reader.tags:
        assert tag not in ("script", "link", "img", "iframe", "object")
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "data", "action"):
                assert (value or "").startswith("#"), (tag, name, value)
            assert not name.startswith("on"), (tag, name)
    text = page.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_figures_tables_and_headings_can_be_read_aloud(page: Path) -> None:
    reader = read(page)
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("table") == tags.count("caption") == tags.count("thead")
    assert tags.count("figure") == tags.count("figcaption")
    figures = [a for _, a in reader.tags if a.get("role") == "img"]
    assert len(figures) == tags.count("figure")
    assert all(len(a["aria-label"] or "") > 40 for a in figures)
    assert {a["scope"] for tag, a in reader.tags if tag == "th"} == {"col", "row"}
    assert tags.count("h1") == 1
    assert dict(reader.tags[0][1]) == {"lang": "en"} or "lang" in dict(reader.tags)["html"]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    path = write_report(make_run(tmp_path, n=12, hostile=HOSTILE))
    reader = read(path)
    assert "script" not in {tag for tag, _ in reader.tags}
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text.lower()
    assert HOSTILE in "".join(reader.text)  # shown as it is, as text
    titles = re.findall(r"<title>(.*?)</title>", text, re.S)
    assert titles == ["Synthetic promoters &lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;"]


def test_missing_parts_are_left_out_and_said(tmp_path: Path) -> None:
    run = make_run(tmp_path, n=12)
    (run / "metrics" / "localisation.parquet").unlink()
    (run / "audit.json").unlink()
    reader = read(write_report(run))
    shown = {a["id"] for tag, a in reader.tags if tag == "section"}
    assert {"localisation", "audit"}.isdisjoint(shown)
    said = " ".join(" ".join(reader.text).split())
    assert (
        "Not in this report, because the run holds nothing for it: "
        "Can the data be trusted?; Did the explainers find what was planted?" in said
    )


def test_an_empty_run_still_gives_a_page(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{}")
    reader = read(write_report(tmp_path))
    assert [a["id"] for tag, a in reader.tags if tag == "section"] == [
        "question",
        "methods",
        "limits",
    ]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path, n=12)
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_a_broken_file_leaves_the_earlier_report_as_it_was(tmp_path: Path) -> None:
    run = make_run(tmp_path, n=12)
    path = write_report(run)
    before = path.read_bytes()
    (run / "predictions" / "cnn.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(StoreError, match=r"predictions/cnn\.parquet is not a whole Parquet file"):
        write_report(run)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_drawings_stand_out_from_the_paper(page: Path, theme: int) -> None:
    roots = re.findall(r":root \{(.*?)\}", page.read_text(encoding="utf-8"), re.S)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", roots[theme]))
    for name in ("ink", "muted", "accent"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for name in ("good", "warn", "bad"):
        assert contrast(colours[name], colours[f"{name}-paper"]) >= 4.5, name
    assert contrast(colours["truth-ink"], colours["truth"]) >= 4.5
    drawn = [f"base-{base}" for base in "acgtn"] + [f"c{i}" for i in range(6)]
    for name in drawn:
        assert contrast(colours[name], colours["paper"]) >= 3, name


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not the folder of a run: it has no lock\.json"):
        write_report(tmp_path)

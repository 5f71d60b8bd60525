"""Pictures of single sequences: what is drawn, how it is coloured, and what a file holds."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import basewise as bw
from basewise.errors import ConfigError, DataError, MissingExtra
from basewise.picture.heat import HIGH, LOW, colour_of
from basewise.types import Attribution, Target

SVG = "{http://www.w3.org/2000/svg}"


def attribution(sequence: str, spans: Any, scores: Any, **more: Any) -> Attribution:
    given = {
        "record_id": "a",
        "sequence": sequence,
        "model": "m",
        "target": Target("promoter"),
        "method": "kernel_shap",
        "kind": "additive",
        "spans": np.array(spans).reshape(-1, 2),
        "scores": np.array(scores, float),
        "output": 2.0,
        "baseline": 0.5,
        "evaluations": 8,
        "seed": 0,
    }
    return Attribution(**given | more)


TOKENS = attribution("ACGTTGCAA", [[0, 3], [3, 5], [5, 9]], [1.0, -2.0, 0.5])
BASES = attribution("ACGT", [[i, i + 1] for i in range(4)], [1.0, -2.0, 0.5, 2.0])


def boxes(picture: bw.drawing.Picture) -> list[tuple[str, str, list[tuple[float, float, float]]]]:
    """Fill, title and (x, y, width) of the rectangles of every box."""
    found = []
    for group in ElementTree.fromstring(picture.svg).iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        if title is not None:
            places = [
                tuple(float(box.attrib[key]) for key in ("x", "y", "width"))
                for box in group.iter(f"{SVG}rect")
            ]
            found.append((group.attrib["fill"], title.text or "", places))
    return found


def test_a_box_is_as_wide_as_its_token_and_coloured_by_its_score() -> None:
    found = boxes(bw.draw(TOKENS))
    assert [title for _, title, _ in found] == [
        "ACG 1 to 3: 1",
        "TT 4 to 5: −2",
        "GCAA 6 to 9: 0.5",
    ]
    wide = [places[0][2] + 1.2 for _, _, places in found]
    assert np.array(wide) / wide[1] == pytest.approx([1.5, 1, 2], rel=0.01)
    edges = [places[0][0] for _, _, places in found]
    assert edges[1] - edges[0] == pytest.approx(wide[0], abs=0.2)
    assert [fill for fill, _, _ in found] == [
        "#{:02x}{:02x}{:02x}".format(*colour_of(share)) for share in (0.5, -1, 0.25)
    ]


def test_every_letter_stands_in_the_middle_of_its_place() -> None:
    letters = {}
    for text in ElementTree.fromstring(bw.draw(TOKENS).svg).iter(f"{SVG}text"):
        if "pointer-events" in text.attrib.get("style", ""):
            places = map(float, text.attrib["x"].split())
            letters |= dict(zip(places, text.text or "", strict=True))
    assert "".join(letters[x] for x in sorted(letters)) == TOKENS.sequence
    edges = [places[0][0] - 0.6 for _, _, places in boxes(bw.draw(TOKENS))]
    cell = (edges[1] - edges[0]) / 3
    middles = edges[0] + cell * (np.arange(9) + 0.5)
    assert sorted(letters) == pytest.approx(middles, abs=0.2)


def test_a_token_at_the_end_of_a_row_goes_on_in_the_next() -> None:
    sequence = "ACGTA" * 40
    found = boxes(bw.draw(attribution(sequence, [[0, 80], [80, 110], [110, 200]], [1, 2, 3])))
    rows = [[y for _, y, _ in places] for _, _, places in found]
    assert [len(ys) for ys in rows] == [1, 2, 2]
    assert rows[1][0] < rows[1][1] == rows[2][0] < rows[2][1]
    widths = [sum(w + 1.2 for _, _, w in places) for _, _, places in found]
    assert np.array(widths) / 10 == pytest.approx(np.array([8, 3, 9]) * widths[0] / 80, rel=0.01)


def test_bases_are_a_logo_and_longer_units_are_boxes_unless_said_otherwise() -> None:
    assert 'class="logo"' in bw.draw(BASES).svg
    assert 'class="heat"' in bw.draw(TOKENS).svg
    assert 'class="heat"' in bw.draw(BASES, "tokens").svg
    assert 'class="logo"' in bw.draw(TOKENS, "logo").svg
    assert 'class="logo"' in BASES._repr_html_()
    assert 'class="heat"' in TOKENS._repr_html_()


def test_a_logo_that_becomes_boxes_is_said(caplog: pytest.LogCaptureFixture) -> None:
    windows = attribution(BASES.sequence, [[0, len(BASES.sequence)]], [1.0])
    assert 'class="heat"' in bw.draw([BASES, windows], names=["a", "by windows"]).svg
    (said,) = caplog.messages
    assert said.startswith("drawn as boxes: the scores of by windows are of more than a base")
    caplog.clear()
    assert 'class="heat"' not in bw.draw([BASES, windows], "logo").svg
    bw.draw([windows])
    assert not caplog.messages


def test_overlapping_units_are_drawn_base_by_base() -> None:
    kmers = attribution("ACGTA", [[0, 3], [1, 4], [2, 5]], [3.0, 0.0, -3.0])
    found = boxes(bw.draw(kmers))
    assert len(found) == 5
    assert [float(title.split()[-1].replace("−", "-")) for _, title, _ in found] == [
        1,
        1,
        0,
        -1,
        -1,
    ]


def test_what_a_reader_needs_stands_in_the_picture() -> None:
    for picture in (bw.draw([BASES, BASES], names=["one", "two"]), bw.draw(TOKENS, names=["one"])):
        text = re.sub(r"<[^>]+>", " ", picture.svg)
        assert "log-odds of promoter" in text
        assert "one" in text
        assert "output 2.00, baseline 0.500, gap" in text
    text = re.sub(r"<[^>]+>", " ", bw.draw(TOKENS).svg)
    assert "blue lowers, orange raises" in text
    assert "−2" in text
    alone = replace(TOKENS, scores=np.array([0.1, 0.2, 0.3]), kind="ranking", baseline=np.nan)
    text = re.sub(r"<[^>]+>", " ", bw.draw(alone).svg)
    assert "score for the log-odds of promoter" in text
    assert "baseline" not in text
    shown = re.sub(r"<[^>]+>", " ", bw.draw(TOKENS, tss=4).svg)
    assert "−4" in shown  # the first base, counted from the TSS


def test_a_long_sequence_shows_its_window() -> None:
    spans = [[i, i + 10] for i in range(0, 3000, 10)]
    scores = np.zeros(300)
    scores[250] = 1.0
    svg = bw.draw(attribution("ACGTTGCAAC" * 300, spans, scores)).svg
    assert re.search(r"bases ([\d,]+) to ([\d,]+) of 3,000", svg)
    assert len(bw.draw(attribution("ACGTTGCAAC" * 300, spans, scores), width=90).svg) < len(svg) / 5


def test_places_are_counted_as_the_axis_is() -> None:
    picture = bw.draw(replace(TOKENS, scores=np.array([0.0, 0.0, 1.0])), tss=6, width=4)
    assert "bases −1 to +3 of 9" in words(picture)
    assert [title for _, title, _ in boxes(picture)] == ["GCAA −1 to +3: 1"]


@given(st.floats(-1, 1))
def test_colours_go_from_blue_over_white_to_orange(share: float) -> None:
    red, _, blue = colour_of(share)
    assert (red > blue) == (round(217 * share) > 0 or red > blue)
    assert abs(sum(colour_of(share)) - 741) == pytest.approx(
        abs(share) * (741 - sum(HIGH if share > 0 else LOW)), abs=2
    )


# Machado, Oliveira & Fernandes 2009, severity 1.0, on linear RGB.
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.01182, 0.04294, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.3039]],
}  # fmt: skip


@pytest.mark.parametrize("eye", BLIND)
def test_both_ends_and_the_middle_are_told_apart_by_every_eye(eye: str) -> None:
    seen = [
        np.array(BLIND[eye]) @ (np.array(colour_of(share)) / 255) ** 2.2
        for share in (-1, -0.5, 0, 0.5, 1)
    ]
    for a, b in combinations(seen, 2):
        assert np.linalg.norm(a - b) > 0.1


def test_files_are_whole_pictures_with_their_size_and_no_script(tmp_path: Path) -> None:
    bw.draw(TOKENS).save(tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    assert root.attrib["viewBox"] == f"0 0 {width} {height}"
    assert "var(" not in text
    assert "script" not in text
    assert re.findall(r'(?:href|src)="(?!#)', text) == []
    bw.draw(TOKENS).save(tmp_path / "a.png", scale=1.5)
    png = (tmp_path / "a.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (int(1.5 * width), int(1.5 * height))


def test_a_png_shows_its_letters_on_a_machine_without_fonts(tmp_path: Path) -> None:
    """Text that finds no font is left out in silence; pixels tell."""
    from matplotlib.image import imread

    def ink(picture: Any) -> int:
        picture.save(tmp_path / "x.png")
        return int((imread(tmp_path / "x.png")[..., :3].sum(2) < 0.6).sum())

    blank = replace(TOKENS, sequence="NNNNNNNNN")
    words = re.sub(r"<text.*?</text>", "", bw.draw(TOKENS).svg)
    assert ink(bw.draw(TOKENS)) > ink(bw.drawing.Picture(words)) + 300
    assert ink(bw.draw(blank)) != ink(bw.draw(TOKENS))


@pytest.mark.parametrize("name", ["a.pdf", "a"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"saved as \.svg or \.png, not as (\.pdf|no) files"):
        bw.draw(TOKENS).save(tmp_path / name)


def test_a_missing_library_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("basewise.drawing.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'basewise\[png\]'; or save as \.svg"):
        bw.draw(TOKENS).save(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_of_one_sequence_and_of_a_known_kind() -> None:
    with pytest.raises(DataError, match=r"of one sequence; the 2 attributions are of 2"):
        bw.draw([TOKENS, BASES])
    with pytest.raises(DataError, match=r"the 0 attributions"):
        bw.draw([])
    with pytest.raises(ConfigError, match=r"kind = 'pie': pictures are 'logo' or 'tokens'"):
        bw.draw(TOKENS, "pie")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["logo", "tokens"])
def test_hostile_names_are_text_in_files_and_notebooks(kind: Any) -> None:
    name = '<script>alert(1)</script>" id="x url(#a) href="#b'
    hostile = replace(TOKENS, method=name, target=Target(name), record_id=name)
    if kind == "logo":
        hostile = replace(hostile, spans=np.array([[0, 1]]), scores=np.ones(1))
    svg, html = bw.draw(hostile, kind).svg, hostile._repr_html_()
    for text in (svg, html):
        assert "<script" not in text
        assert '" id="x' not in text
    root = ElementTree.fromstring(html)
    assert name in "".join(root.itertext())


def test_a_notebook_gets_a_white_ground_and_no_fixed_size() -> None:
    html = TOKENS._repr_html_()
    assert html.startswith('<div style="max-width:960px;background:#fff"><svg xmlns=')
    assert bw.draw(TOKENS)._repr_html_().startswith('<div style="max-width:960px;')
    assert " width=" not in html[html.index("<svg") : html.index(">", html.index("<svg"))]


def test_two_pictures_on_a_page_share_no_ids() -> None:
    other = replace(TOKENS, scores=np.array([3.0, -1.0, 2.0]))
    ids = [re.findall(r' id="([^"]+)"', bw.draw(a).svg) for a in (TOKENS, other)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])


def test_a_rule_is_captioned_as_what_it_is() -> None:
    """Beside scores of log-odds, it says what it keeps, how surely, and what its colours mean."""
    model = bw.Model.from_callable(
        lambda some: [(0.1, 0.9) if "TATAAA" in s else (0.9, 0.1) for s in some],
        ["no", "yes"],
        outputs="probabilities",
    )
    settings: dict[str, Any] = {"units": {"type": "windows", "size": 6}}
    with_box = bw.Record("box", "GGCCGGTATAAAGGCCGGCCGGCC")
    found = [
        bw.explain(model, [with_box], name, "yes", **settings)[0]
        for name in ("occlusion", "anchors")
    ]
    for order in (found, found[::-1]):
        text = bw.draw(order).svg
        assert text.count("score for the log-odds of yes") == 1
        assert text.count("1 in the rule, 0 outside of it") == 1
        assert "a rule that keeps the prediction yes; precision 1.00; coverage" in text
        assert "top of yes" not in text
    without = bw.Record("none", "GGCCGGTTTTTTGGCC")
    (kept,) = bw.explain(model, [without], "anchors", "yes", **settings)
    assert kept.told.startswith("a rule that keeps the prediction not yes; precision 1.00")
    missed = replace(kept, extras={**kept.extras, "enough": 0.0})
    assert missed.told.endswith("no rule was found within the budget, this is the most precise")


def words(picture: bw.drawing.Picture) -> str:
    return " ".join(ElementTree.fromstring(picture.svg).itertext())


def upright(picture: bw.drawing.Picture) -> list[str]:
    """What is written along the vertical axis."""
    texts = ElementTree.fromstring(picture.svg).iter(f"{SVG}text")
    return [text.text or "" for text in texts if "rotate" in text.attrib.get("transform", "")]


OTHERS = [
    BASES,
    replace(BASES, target=Target("promoter", read="probability"), output=0.25),
    replace(BASES, target=Target("other"), output=-2.0),
]


def test_a_logo_of_several_targets_names_that_of_each_panel() -> None:
    assert upright(bw.draw([BASES, replace(BASES, method="lime")])) == ["log-odds of promoter"]
    picture = bw.draw(OTHERS)
    assert upright(picture) == []
    for said in (
        "log-odds of promoter: output 2.00,",
        "probability of promoter: output 0.250,",
        "log-odds of other: output −2.00,",
    ):
        assert words(picture).count(said) == 1


def test_boxes_of_several_targets_say_what_raises_each() -> None:
    said = words(bw.draw(OTHERS, "tokens"))
    for a in OTHERS:
        assert said.count(f"blue lowers, orange raises the {a.target}") == 1


def test_a_rule_beside_scores_is_not_in_their_unit() -> None:
    rule = replace(BASES, kind="rule", method="anchors", scores=np.array([0.0, 1, 0, 1]), extras={})
    assert upright(bw.draw(rule)) == ["1 in the rule, 0 outside of it"]
    picture = bw.draw([BASES, rule])
    assert upright(picture) == []
    assert words(picture).count("log-odds of promoter") == 1
    assert "1 in the rule, 0 outside of it: a rule that keeps" in words(picture)


def test_panels_are_called_by_what_they_differ_in() -> None:
    windows = {"units": {"type": "windows", "size": 6}, "draws": 2}
    one = replace(BASES, settings={"units": {"type": "bases"}, "draws": 2})
    for found, names in (
        ([one, replace(one, record_id="b")], ["a, kernel shap", "b, kernel shap"]),
        ([one, replace(one, model="n")], ["m, kernel shap", "n, kernel shap"]),
        (
            [one, replace(one, settings=windows)],
            ["kernel shap, units bases", "kernel shap, units windows (size 6)"],
        ),
        ([one, replace(one, seed=5)], ["kernel shap, seed 0", "kernel shap, seed 5"]),
        ([one, replace(one, method="lime", seed=5)], ["kernel shap", "lime"]),
    ):
        texts = ElementTree.fromstring(bw.draw(found).svg).iter(f"{SVG}text")
        assert [t.text for t in texts if t.attrib.get("font-weight") == "600"] == names


def rule_of(length: int, members: list[int], **extras: float) -> Attribution:
    sequence = ("ACGTTG" * length)[:length]
    kept = np.isin(np.arange(length), members).astype(float)
    spans = [[i, i + 1] for i in range(length)]
    return attribution(sequence, spans, kept, kind="rule", method="anchors", extras=extras)


def test_members_of_a_rule_can_be_read_outside_of_the_window() -> None:
    rule = rule_of(300, [4, 150, 152, 290])
    assert rule.told.endswith("; in the rule: T5, A151, G153 and G291")
    assert "in the rule: T−146, A+1, G+3 and G+141" in words(bw.draw(rule, tss=150, width=40))
    assert "T−146" in words(bw.draw(rule, "tokens", tss=150, width=40))
    many = rule_of(300, list(range(0, 110, 10)))
    assert many.told.endswith("in the rule: A1, T11, G21, A31, T41, G51, A61, T71 and 3 more")
    units = attribution("ACGTTGCAA" * 3, [[0, 3], [3, 5], [5, 27]], [1.0, 0, 1], kind="rule")
    assert units.told.endswith("in the rule: ACG 1–3 and 6–27")


def test_an_empty_rule_says_so() -> None:
    assert rule_of(9, [], coverage=1.0).told.endswith("coverage 1.00; no base is needed")
    assert "is needed" not in rule_of(9, [], enough=0.0).told


SLOPE = replace(rule_of(300, []), kind="ranking", scores=np.linspace(-1, 1, 300))


def test_long_captions_go_on_in_the_next_line() -> None:
    told = rule_of(300, list(range(0, 200, 7)), precision=0.97, coverage=1e-9, enough=0.0)
    for kind in ("logo", "tokens"):
        picture = bw.draw([told, SLOPE], kind)
        lines = [
            (float(span.attrib["dy"]), len(span.text or ""))
            for span in ElementTree.fromstring(picture.svg).iter(f"{SVG}tspan")
            if span.attrib.get("dy") == "15"
        ]
        assert lines
        assert max(length for _, length in lines) < 135
        assert " ".join(words(picture).split()).count("this is the most precise") == 1


def written(stride: int | None, motif: str = "TATAAA") -> tuple[Attribution, str]:
    """How a motif does in a sequence in which it does not occur; and what is drawn of it."""
    model = bw.Model.from_callable(lambda some: [s.count(motif) for s in some], ["n"])
    record = bw.Record("a", "GGCCGCGCGGTTGCGCCGGCC")
    (found,) = bw.explain(model, [record], "marginalisation", "n", motif=motif, stride=stride)
    texts = ElementTree.fromstring(bw.draw(found).svg).iter(f"{SVG}text")
    drawn = [t.text or "" for t in texts if "pointer-events" in t.attrib.get("style", "")]
    return found, "".join(drawn)


def test_places_of_a_written_motif_hold_the_motif_and_not_the_sequence() -> None:
    for stride, times in ((None, 1), (6, 3), (9, 2)):
        found, drawn = written(stride)
        assert drawn == "TATAAA" * times
        said = words(bw.draw(found))
        assert "TATAAA written at each place, in shuffles that keep dinucleotides; output" in said
        assert len(boxes(bw.draw(found))) == times


def test_places_that_overlap_are_boxes_without_letters() -> None:
    for stride in (1, 4):
        found, drawn = written(stride)
        assert drawn == ""
        assert "a box is where it begins" in words(bw.draw(found))
        titles = [title for _, title, _ in boxes(bw.draw(found))]
        assert titles == [
            f"{start + 1} to {start + stride}: {score:.3g}"
            for start, score in zip(found.spans[:, 0], found.scores, strict=True)
        ]


def test_a_written_motif_has_bars_and_no_letters_in_a_logo() -> None:
    found, _ = written(1, "A")
    assert not found.of_bases
    assert 'class="heat"' in bw.draw(found).svg
    root = ElementTree.fromstring(bw.draw(found, "logo").svg)
    assert not list(root.iter(f"{SVG}use"))
    assert sum(r.attrib["height"] == "1" for r in root.iter(f"{SVG}rect")) == 21


@pytest.mark.parametrize("method", ["attention", "attention_rollout"])
def test_attention_is_a_share_and_its_scale_begins_at_the_least(method: str) -> None:
    looks = replace(
        TOKENS, method=method, kind="ranking", baseline=np.nan, scores=np.array([0.3, 0.31, 0.32])
    )
    picture = bw.draw(looks)
    said = words(picture)
    assert "share of attention, from the least (white) to the most (orange)" in said
    assert "score for the log-odds" not in said
    assert [fill for fill, *_ in boxes(picture)] == [
        "#{:02x}{:02x}{:02x}".format(*colour_of(share)) for share in (0, 0.5, 1)
    ]
    ends = [t.text for t in ElementTree.fromstring(picture.svg).iter(f"{SVG}text")][-3:-1]
    assert ends == ["0.3", "0.32"]
    assert upright(bw.draw(looks, "logo")) == ["share of attention"]
    assert "log-odds of promoter 2.00" in said
    flat = replace(looks, scores=np.full(3, 0.25))
    assert {fill for fill, *_ in boxes(bw.draw(flat))} == {"#f7f7f7"}


def test_numbers_beside_an_axis_leave_its_title_free() -> None:
    for scores, marks in (
        ([1.0, -2.0, 0.5, 2.0], {"2", "−2"}),
        ([0.0031, -0.0065, 0, 0], {"0.0031", "−0.0065"}),
        ([2.3e-9, -1.15e-9, 0, 0], {"2.3 × 10⁻⁹", "−1.1 × 10⁻⁹"}),
    ):
        root = ElementTree.fromstring(bw.draw(replace(BASES, scores=np.array(scores))).svg)
        texts = [t for t in root.iter(f"{SVG}text") if t.attrib.get("font-size") == "11"]
        assert marks <= {t.text for t in texts}
        for t in texts:
            if t.attrib["text-anchor"] == "end":
                room = float(t.attrib["x"]) - font_width(t.text or "", 11)
                assert room >= 16.5  # the title ends there: its ground line at 13, and descenders
        first = next(root.iter(f"{SVG}use"))
        x = float(first.attrib["transform"].split()[4])
        assert x >= max(float(t.attrib["x"]) for t in texts if t.attrib["text-anchor"] == "end")


def font_width(text: str, size: float) -> float:
    """As the font itself has it."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    width, *_ = TextToPath().get_text_width_height_descent(
        text, FontProperties(fname=file, size=size), False
    )
    return float(width)


def test_small_numbers_of_a_scale_are_written_as_titles_write_them() -> None:
    said = words(bw.draw(replace(TOKENS, scores=np.array([2.3e-9, -1e-9, 0]))))
    assert "2.3e-09" not in said
    assert said.count("−2.30 × 10⁻⁹") == 1
    assert "ACG 1 to 3: 2.30 × 10⁻⁹" in said


def test_a_token_that_goes_on_has_no_edge_where_it_was_cut() -> None:
    sequence = "ACGTA" * 40
    picture = bw.draw(attribution(sequence, [[0, 80], [80, 110], [110, 200]], [1, 2, 3]))
    groups = [
        g
        for g in ElementTree.fromstring(picture.svg).iter(f"{SVG}g")
        if g.find(f"{SVG}title") is not None
    ]
    whole, cut, _ = groups
    assert [rect.attrib.get("stroke") for rect in whole.iter(f"{SVG}rect")] == [None]
    rects = list(cut.iter(f"{SVG}rect"))
    assert [rect.attrib["stroke"] for rect in rects] == ["none", "none"]
    first, second = [path.attrib["d"] for path in cut.iter(f"{SVG}path")]
    left, right = (
        float(rects[0].attrib["x"]),
        float(rects[0].attrib["x"]) + float(rects[0].attrib["width"]),
    )
    assert first == f"M{left:.1f} {rects[0].attrib['y']}H{right:.1f}m0 22H{left:.1f}v-22"
    end = float(rects[1].attrib["x"]) + float(rects[1].attrib["width"])
    assert second.endswith(f"M{end:.1f} {rects[1].attrib['y']}v22")
    assert "v-22" not in second

"""Pictures of single explained sequences: logos and heat maps, as SVG and PNG."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from markupsafe import Markup

from basewise.errors import ConfigError, DataError, MissingExtra
from basewise.picture import heat, logo, tracks
from basewise.picture.svg import file_of, framed
from basewise.picture.words import listing
from basewise.store import whole, write_text
from basewise.types import Attribution, Floats, Span

__all__ = ["Kind", "Picture", "check_format", "draw", "draw_tracks", "logo_of"]

Kind = Literal["logo", "tokens"]


@dataclass(frozen=True)
class Picture:
    """A drawing, which a notebook shows by itself.

    Attributes
    ----------
    svg : str
        A file of its own: nothing outside of it is needed, and no script is in it.
    """

    svg: str

    def __repr__(self) -> str:
        return f"Picture({len(self.svg):,} characters of SVG; save it, or show it in a notebook)"

    def save(self, path: str | Path, *, scale: float = 2.0) -> None:
        """Write the picture, whole or not at all, as the ending of the name says.

        Parameters
        ----------
        path : path or str
            Ending in `.svg` or `.png`.
        scale : float
            Pixels of a PNG for each of the drawing's, which is 960 wide.

        Raises
        ------
        ConfigError
            For another ending.
        MissingExtra
            For a PNG without the library that makes them.
        """
        path = Path(path)
        check_format(path.suffix)
        if path.suffix == ".svg":
            write_text(path, self.svg)
            return
        png = _png(self.svg, scale)
        with whole(path) as aside:
            aside.write_bytes(png)

    def _repr_html_(self) -> str:
        return framed(self.svg)


def draw(
    attributions: Attribution | Sequence[Attribution],
    kind: Kind | None = None,
    *,
    names: Sequence[str] = (),
    tss: int | None = None,
    truth: Sequence[Span] = (),
    hits: Sequence[Span] = (),
    width: int | None = None,
) -> Picture:
    """Draw one sequence under one or several explanations, one below the other.

    Parameters
    ----------
    attributions : Attribution or sequence of Attribution
        Of one sequence. Each has its own scale, and says of what where they differ.
    kind : str, optional
        `logo`: letters as tall as the scores of their bases; bars where the scores are of a motif
        that was written there. `tokens`: what was scored
        together in one box, coloured by its score. By default a logo where every score is that
        of a base, and boxes otherwise (said in a warning where some are).
    names : sequence of str, optional
        What to call each; where not given its method, with the record, the model and the settings
        in which several differ.
    tss : int, optional
        0-based index of the +1 base; positions then count from it.
    truth, hits : sequence of Span
        Stretches that a logo shades and brackets.
    width : int, optional
        Bases drawn, 100 in a logo and 1,800 in boxes; a longer sequence shows the window with
        the largest absolute mass.

    Returns
    -------
    Picture
        For a notebook, or to `save` as SVG or PNG.

    Raises
    ------
    ConfigError
        For an unknown kind.
    DataError
        If the attributions are of different sequences, or there are none.

    Examples
    --------
    >>> import basewise as bw
    >>> model = bw.Model.from_callable(lambda seqs: [s.count("CG") for s in seqs], ["cpg"])
    >>> found = bw.explain(model, [bw.Record("a", "ATCGATCGAA")], "occlusion", "cpg")
    >>> bw.draw(found[0]).save("a.svg")
    """
    found = [attributions] if isinstance(attributions, Attribution) else list(attributions)
    if len({a.sequence for a in found}) != 1:
        raise DataError(
            f"A picture is of one sequence; the {len(found)} attributions are of "
            f"{len({a.sequence for a in found})}. Draw each record by itself."
        )
    if kind not in (None, *get_args(Kind)):
        raise ConfigError(
            f"kind = {kind!r}: pictures are {' or '.join(map(repr, get_args(Kind)))}."
        )
    if kind is None and len({a.of_bases for a in found}) > 1:
        logging.getLogger("basewise").warning(
            "drawn as boxes: the scores of %s are of more than a base; kind='logo' draws letters, "
            "each with its share",
            next(n for n, a in zip(_names(found, names), found, strict=True) if not a.of_bases),
        )
    if kind == "logo" or (kind is None and all(a.of_bases for a in found)):
        drawing = logo_of(found, names=names, tss=tss, truth=truth, hits=hits, width=width or 100)
    else:
        panels = [a.panel(name, tss) for name, a in zip(_names(found, names), found, strict=True)]
        drawing = heat.heat_map(found[0].sequence, panels, tss=tss, width=width or 1800)
    return Picture(file_of(drawing))


def logo_of(
    attributions: Sequence[Attribution],
    *,
    names: Sequence[str] = (),
    tss: int | None = None,
    truth: Sequence[Span] = (),
    hits: Sequence[Span] = (),
    width: int = 100,
) -> Markup:
    """The logo that `draw` makes, for a page that sets its colours."""
    named = zip(_names(attributions, names), attributions, strict=True)
    tracks = [a.track(name, tss) for name, a in named]
    return logo.logo(attributions[0].sequence, tracks, tss=tss, truth=truth, hits=hits, width=width)


def draw_tracks(
    start: int,
    numbers: Mapping[str, Floats],
    stretches: Mapping[str, Sequence[Span]] = MappingProxyType({}),
    *,
    told: Mapping[str, str] = MappingProxyType({}),
) -> Picture:
    """Draw numbers on the bases of a stretch of a genome, and stretches below them.

    Parameters
    ----------
    start : int
        Place of the first base.
    numbers : mapping of str to (b,) float
        By the name of the track; all of one length. NaN where there is no number.
    stretches : mapping of str to sequence of Span
        By the name of the track, in the coordinates of the genome; what lies outside is left out.
    told : mapping of str to str
        What to write beside the name of a track.

    Raises
    ------
    DataError
        If there are no numbers, or tracks of several lengths.
    """
    lengths = {len(values) for values in numbers.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise DataError(
            f"Tracks of {sorted(lengths) or 'no'} bases; a picture is of tracks of one length."
        )
    lanes: list[tracks.Numbers | tracks.Stretches] = [
        tracks.Numbers(name, values, told.get(name, "")) for name, values in numbers.items()
    ]
    lanes += [tracks.Stretches(name, own, told.get(name, "")) for name, own in stretches.items()]
    return Picture(file_of(tracks.tracks(start, start + lengths.pop(), lanes)))


def check_format(ending: str) -> None:
    """Refuse an ending of file names that no picture has, or that needs a missing library."""
    if ending == ".png" and find_spec("resvg_py") is None:
        raise MissingExtra(
            "A PNG needs the library resvg_py: pip install 'basewise[png]'; or save as .svg."
        )
    if ending not in (".svg", ".png"):
        raise ConfigError(f"Pictures are saved as .svg or .png, not as {ending or 'no'} files.")


def _names(found: Sequence[Attribution], names: Sequence[str]) -> Sequence[str]:
    if names:
        return names
    parts = [
        "method",
        *(p for p in ("record_id", "model") if len({getattr(a, p) for a in found}) > 1),
    ]
    kin = [[getattr(a, part) for part in parts] for a in found]
    settings = [{**a.settings, "seed": a.seed} for a in found]
    said = []
    for (method, *more), own in zip(kin, settings, strict=True):
        alike = [its for name, its in zip(kin, settings, strict=True) if name == [method, *more]]
        apart = [
            f"{key.replace('_', ' ')} {_said(value)}"
            for key, value in own.items()
            if value is not None and any(its.get(key) != value for its in alike)
        ]
        said.append(", ".join([*more, method.replace("_", " "), *apart]))
    return said


def _said(value: object) -> str:
    """A setting in words: `windows (size 6)`."""
    if isinstance(value, Mapping):
        more = ", ".join(f"{key} {_said(own)}" for key, own in value.items() if key != "type")
        kind = str(value.get("type", ""))
        return f"{kind} ({more})" if kind and more else kind or more
    if isinstance(value, list):
        return listing(map(_said, value))
    return str(value).replace("_", " ")


def _png(svg: str, scale: float) -> bytes:
    """The picture in pixels, with the fonts that come with matplotlib: the same everywhere."""
    import matplotlib
    import resvg_py

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf")
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=scale,
            skip_system_fonts=True,
            font_files=[str(fonts / name) for name in names],
            font_family="DejaVu Sans",
            sans_serif_family="DejaVu Sans",
            monospace_family="DejaVu Sans Mono",
        )
    )

"""Motifs that nobody asked about: what seqlets have in common, by TF-MoDISco.

TF-MoDISco (Shrikumar et al. 2018, arXiv 1811.00416; the library modisco-lite) cuts windows of high
attribution, compares them by what every base would have scored there, and clusters them into
patterns. It therefore needs hypothetical scores that go with the scores; where there are none,
nothing is made up in their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from basewise.errors import CapabilityError, DataError, MissingExtra
from basewise.motifs.motif import Motif
from basewise.sequence.alphabet import N, encode
from basewise.types import Attribution, Floats

__all__ = ["PATTERNS", "PATTERN_SEQLETS", "Discovery", "check_installed", "discover"]

PATTERNS = ("pattern", "sign", "seqlets", "records", "contribution", "consensus")
"""Columns of a table of patterns, the one with the most seqlets of each sign first.

pattern : `positive 1`, `negative 1`, ...; sign : 1 where it speaks for the target, -1 where
against; seqlets, records : how many it was built of, and in how many records they lie;
contribution : mean attribution of a seqlet inside the pattern, in units of the target;
consensus : the most frequent base of each position, lower case where it has under half.
"""

PATTERN_SEQLETS = ("pattern", "record_id", "start", "end", "strand")
"""Columns of the table of their seqlets: 0-based half-open, `-` where the seqlet was turned."""

SEQLETS_NEEDED = 100  # of one sign: below, TF-MoDISco does not cluster
_AGREEMENT = 0.99
_TRIMMED = 0.3  # positions that contribute less than this share of the highest end the pattern


class Discovery(NamedTuple):
    """Patterns as motifs to be named or scanned for, and the tables of them and their seqlets."""

    motifs: list[Motif]
    patterns: pd.DataFrame
    seqlets: pd.DataFrame


def discover(
    found: Sequence[Attribution], *, window: int = 10, flank: int = 4, seqlets: int = 2000
) -> Discovery:
    """Cluster stretches of high attribution into motifs.

    Parameters
    ----------
    found : sequence of Attribution
        Of one model, target and method, with hypothetical scores. Short sequences are padded.
    window : int
        Bases over which scores are summed to find seqlets; the length of the motifs looked for.
        (TF-MoDISco's own default of 21, with flanks of 10, joins neighbouring elements of a
        promoter into one pattern.)
    flank : int
        Bases added to either side of a seqlet before seqlets are aligned.
    seqlets : int
        The most seqlets of each sign.

    Returns
    -------
    Discovery
        Patterns are cut to the positions that carry them; empty where none was found.

    Raises
    ------
    DataError
        If there are no attributions, of several methods, all shorter than a seqlet, or fewer than
        `SEQLETS_NEEDED` seqlets of either sign.
    CapabilityError
        If there are no hypothetical scores, or they are not those of the scores.
    MissingExtra
        If modisco-lite is not installed.
    """
    scores, one_hot = _hypothetical(found, window + 2 * flank)
    check_installed()
    _enough(found, one_hot * scores, window, flank)
    from modiscolite.tfmodisco import TFMoDISco

    by_sign = TFMoDISco(
        one_hot,
        scores,
        sliding_window_size=window,
        flank_size=flank,
        max_seqlets_per_metacluster=seqlets,
        trim_to_window_size=window + 2,
        initial_flank_to_add=2,
        min_ic_windowsize=min(6, window),
        n_leiden_runs=10,
    )
    return _collected(found, by_sign)


def check_installed() -> None:
    """Refuse to discover motifs without the libraries that do it and name what they find."""
    for module, name in (("modiscolite", "modisco-lite"), ("memelite", "memelite")):
        if find_spec(module) is None:
            raise MissingExtra(
                f"Discovering motifs needs the library {name}: pip install 'basewise[motifs]'."
            )


def _hypothetical(found: Sequence[Attribution], seqlet: int) -> tuple[Any, Any]:
    """Hypothetical scores and one-hot sequences, (n, b, 4) float32, zero beyond the ends."""
    if not found:
        raise DataError("There are no attributions; explain some records first.")
    methods = sorted({attribution.method for attribution in found})
    if len(methods) > 1:
        raise DataError(
            f"The attributions are of {len(methods)} methods ({', '.join(methods)}); "
            "ask about one at a time."
        )
    longest = max(len(attribution.sequence) for attribution in found)
    if longest < seqlet:
        raise DataError(
            f"The longest sequence has {longest} bases, and a seqlet with its flanks {seqlet}; "
            "lower window or flank."
        )
    raw, one_hot = np.zeros((2, len(found), longest, 4), np.float32)
    for i, attribution in enumerate(found):
        if attribution.hypothetical is None:
            raise CapabilityError(
                f"The attributions by {methods[0]} hold no hypothetical scores (what each base "
                "would have scored at each position), which discovery compares; explain a one-hot "
                "network by integrated_gradients, deep_lift, input_x_gradient or mutagenesis."
            )
        codes = encode(attribution.sequence)
        known = np.flatnonzero(codes < N)
        one_hot[i, known, codes[known]] = 1
        raw[i, : len(codes)] = attribution.hypothetical
    per_base = np.zeros(raw.shape[:2])
    for i, attribution in enumerate(found):
        per_base[i, : len(attribution.sequence)] = attribution.per_base()
    # Effects of substitutions are zero at the base that stands there until they are centred.
    for scores in (raw, raw - raw.mean(2, keepdims=True)):
        if _cosine((scores * one_hot).sum(2), per_base) > _AGREEMENT:
            return scores, one_hot
    raise CapabilityError(
        f"The hypothetical scores by {methods[0]} are not those of its scores: at the bases of the "
        "sequences the two differ, so seqlets cannot be compared by them; use "
        "integrated_gradients, deep_lift, input_x_gradient or mutagenesis."
    )


def _cosine(one: Any, other: Floats) -> float:
    size = np.linalg.norm(one) * np.linalg.norm(other)
    return float((one * other).sum() / size) if size > 0 else 0.0


def _enough(found: Sequence[Attribution], scores: Any, window: int, flank: int) -> None:
    """Refuse what TF-MoDISco would find too few seqlets in, with the number needed."""
    from modiscolite.extract_seqlets import extract_seqlets

    track = scores.sum(axis=2)
    coordinates, threshold = extract_seqlets(
        attribution_scores=track,
        window_size=window,
        flank=flank,
        suppress=window // 2 + flank,
        target_fdr=0.2,
        min_passing_windows_frac=0.03,
        max_passing_windows_frac=0.2,
        weak_threshold_for_counting_sign=0.8,
    )
    mass = np.array(
        [track[s.example_idx, s.start + flank : s.end - flank].sum() for s in coordinates]
    )
    most = max(int((mass > threshold).sum()), int((mass < -threshold).sum()))
    if most <= SEQLETS_NEEDED:
        raise DataError(
            f"{len(found):,} attributions hold {most} seqlets of one sign; discovery needs more "
            f"than {SEQLETS_NEEDED}: explain about {_records(len(found), most):,} records."
        )


def _records(n: int, seqlets: int) -> int:
    return -(-n * (SEQLETS_NEEDED + 1) // max(seqlets, 1))


def _collected(found: Sequence[Attribution], by_sign: Sequence[Any]) -> Discovery:
    motifs: list[Motif] = []
    patterns: list[dict[str, Any]] = []
    members: list[dict[str, Any]] = []
    for sign, of_sign in zip((1, -1), by_sign, strict=True):
        for number, pattern in enumerate(of_sign or [], 1):
            name = f"{'positive' if sign > 0 else 'negative'} {number}"
            first, last = _core(pattern.contrib_scores)
            own = list(_members(pattern, found, first, last))
            matrix = np.asarray(pattern.sequence[first:last], float)
            motifs.append(Motif.from_counts(name, matrix, source="TF-MoDISco"))
            patterns.append(
                {
                    "pattern": name,
                    "sign": sign,
                    "seqlets": len(own),
                    "records": len({record_id for record_id, *_ in own}),
                    "contribution": float(pattern.contrib_scores[first:last].sum()),
                    "consensus": _consensus(motifs[-1].matrix),
                }
            )
            members += [dict(zip(PATTERN_SEQLETS, (name, *seqlet), strict=True)) for seqlet in own]
    return Discovery(
        motifs,
        pd.DataFrame(patterns, columns=list(PATTERNS)),
        pd.DataFrame(members, columns=list(PATTERN_SEQLETS)),
    )


def _core(contributions: Floats) -> tuple[int, int]:
    """The positions from the first to the last that carry the pattern."""
    height = np.abs(contributions).sum(1)
    high = np.flatnonzero(height >= _TRIMMED * height.max())
    return int(high[0]), int(high[-1]) + 1


def _members(
    pattern: Any, found: Sequence[Attribution], first: int, last: int
) -> Iterator[tuple[str, int, int, str]]:
    """Where the core of the pattern lies on each record."""
    width = len(pattern.sequence)
    for seqlet in pattern.seqlets:
        ends = (width - last, width - first) if seqlet.is_revcomp else (first, last)
        yield (
            found[seqlet.example_idx].record_id,
            int(seqlet.start) + ends[0],
            int(seqlet.start) + ends[1],
            "-" if seqlet.is_revcomp else "+",
        )


def _consensus(matrix: Floats) -> str:
    letters = ["ACGT"[i] for i in matrix.argmax(1)]
    strong = matrix.max(1) >= 0.5
    return "".join(x if high else x.lower() for x, high in zip(letters, strong, strict=True))

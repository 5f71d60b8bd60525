"""De novo discovery and naming: planted motifs are found by their exact attributions and named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from basewise import Attribution, Record, Target, explain
from basewise.biology.discovery import PATTERN_SEQLETS, PATTERNS, discover
from basewise.data.grammar import PromoterGrammar
from basewise.errors import CapabilityError, DataError
from basewise.motifs.motif import Motif, letters_of
from basewise.motifs.naming import MATCHES, name_motifs
from basewise.motifs.panel import CORE_PROMOTER
from basewise.sequence.alphabet import encode
from explained_models import Additive, of_module

PATTERN = {m.name: m.pattern for m in CORE_PROMOTER}


def exact(n, seed=1):
    """What each base of a planted element is worth, beyond the mean over bases; little noise."""
    rng, found = np.random.default_rng(seed), []
    for record in PromoterGrammar(length=160, tss=110).make(n, seed):
        if not record.truth:
            continue
        worth = rng.normal(0, 0.02, (160, 4))
        for span in record.truth:
            letters = letters_of(PATTERN[span.name])
            worth[span.start : span.end] += letters / letters.sum(1, keepdims=True) - 0.25
        codes = encode(record.sequence)
        found.append(attribution(record, worth[np.arange(160), codes], worth))
    return found


def attribution(record: Record, scores, hypothetical=None, method="integrated_gradients"):
    spans = np.column_stack([np.arange(len(scores)), np.arange(len(scores)) + 1])
    return Attribution(
        record.id, record.sequence, "cnn", Target("promoter"), method, "additive", spans, scores,
        1.0, 0.0, 9, 1, hypothetical=hypothetical,
    )  # fmt: skip


@pytest.mark.slow
def test_planted_motifs_are_found_and_named():
    found = exact(220)
    discovery = discover(found)
    patterns, seqlets = discovery.patterns, discovery.seqlets
    assert (tuple(patterns.columns), tuple(seqlets.columns)) == (PATTERNS, PATTERN_SEQLETS)
    assert [m.name for m in discovery.motifs] == patterns["pattern"].tolist()
    assert (patterns["sign"] == 1).all()
    best = name_motifs(discovery.motifs, CORE_PROMOTER, matches=1)
    assert tuple(best.columns) == MATCHES
    assert {"GC_box", "TATA", "Inr"} <= set(best.loc[best["q"] < 0.05, "match"])

    # Where seqlets lie, an element was planted: the one that their pattern is named for.
    named = best.set_index("motif").loc[lambda b: b["q"] < 0.05, "match"]
    truth = {r.id: r.truth for r in PromoterGrammar(length=160, tss=110).make(220, 1)}
    right = [
        any(
            span.name == named[pattern] and span.start <= (start + end) / 2 <= span.end
            for span in truth[record_id]
        )
        for pattern, record_id, start, end, _ in seqlets.itertuples(index=False)
        if pattern in named
    ]
    assert np.mean(right) > 0.9
    assert len(right) > 150
    sizes = seqlets.groupby("pattern").size()
    assert patterns.set_index("pattern")["seqlets"].equals(sizes[patterns["pattern"]])


def test_too_few_seqlets_are_refused_with_the_number_needed():
    with pytest.raises(DataError, match=r"\d+ attributions hold \d+ seqlets of one sign; discovery "
                       r"needs more than 100: explain about \d+ records") as error:  # fmt: skip
        discover(exact(40))
    assert "\n" not in str(error.value)


def test_without_valid_hypothetical_scores_nothing_is_made_up():
    found = exact(10)
    bare = [dataclasses.replace(a, hypothetical=None, method="occlusion") for a in found]
    with pytest.raises(CapabilityError, match="by occlusion hold no hypothetical scores"):
        discover(bare)
    wrong = [dataclasses.replace(a, scores=np.abs(a.scores)[::-1]) for a in found]
    with pytest.raises(CapabilityError, match="are not those of its scores"):
        discover(wrong)
    with pytest.raises(DataError, match="There are no attributions"):
        discover([])
    with pytest.raises(DataError, match=r"2 methods \(integrated_gradients, occlusion\)"):
        discover([*found, *bare])
    with pytest.raises(DataError, match="longest sequence has 160 bases, and a seqlet with its"):
        discover(found, window=160)


@pytest.mark.parametrize("explainer", ["integrated_gradients", "input_x_gradient", "mutagenesis"])
def test_hypothetical_scores_of_these_explainers_are_valid(explainer):
    # They get as far as counting seqlets.
    rng = np.random.default_rng(2)
    records = [Record(f"r{i}", "".join(rng.choice(list("ACGT"), 50 - i))) for i in range(9)]
    found = explain(of_module(Additive()), records, explainer=explainer, target="score")
    with pytest.raises(DataError, match=r"9 attributions hold \d+ seqlets of one sign"):
        discover(found)


def test_names_come_from_the_library_in_either_orientation():
    by_name = {m.name: m for m in CORE_PROMOTER}
    queries = [
        Motif("gc", by_name["GC_box"].reverse_complement().matrix),
        Motif("tata", by_name["TATA"].matrix[1:]),
    ]
    table = name_motifs(queries, CORE_PROMOTER, matches=2)
    assert table["motif"].tolist() == ["gc", "gc", "tata", "tata"]
    first = table.groupby("motif").first()
    assert (first.loc["gc", "match"], first.loc["gc", "strand"]) == ("GC_box", "-")
    assert (first.loc["tata", "match"], first.loc["tata", "offset"]) == ("TATA", 1)
    assert first.loc["tata", "overlap"] == 6
    assert (first["q"] < 0.01).all()
    assert (table["q"] >= table["p"]).all()
    assert name_motifs([], CORE_PROMOTER).empty


def test_chance_resembles_nothing():
    rng = np.random.default_rng(7)
    queries = [Motif(f"q{i}", rng.dirichlet([0.3] * 4, 8)) for i in range(40)]
    best = name_motifs(queries, CORE_PROMOTER, matches=1)
    assert (best["q"] < 0.05).mean() <= 0.15


def test_naming_needs_a_library():
    with pytest.raises(DataError, match="The library holds no motif"):
        name_motifs([CORE_PROMOTER[0]], [])
    with pytest.raises(DataError, match="matches is 0; at least 1 is needed"):
        name_motifs([CORE_PROMOTER[0]], CORE_PROMOTER, matches=0)

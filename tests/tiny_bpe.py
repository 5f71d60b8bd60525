"""A small BPE tokenizer of DNA in the two published layouts."""

from __future__ import annotations

import json
from pathlib import Path

# The short merge at the end leaves a hole in the ids when long tokens are pruned.
MERGES = [
    *[("A", "A"), ("T", "T"), ("T", "G"), ("C", "A")],
    *[("AA", "A"), ("TG", "CA"), ("TT", "AAA"), ("G", "G")],
]


def write_tiny_bpe(path: Path, style: str) -> Path:
    """`plain` is laid out like DNABERT-2's file, `runs` like GENA-LM's (long N runs become -)."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"] + ["-"] * (style == "runs")
    letters = [*"ACGT", "N"] if style == "runs" else [*"ACGT"]
    tokens = special + letters + ["".join(merge) for merge in MERGES]
    said = {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": 4,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": None,
        "added_tokens": [
            {"id": i, "content": text, "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for i, text in enumerate(special)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {
                text: {"id": text, "ids": [special.index(text)], "tokens": [text]}
                for text in ("[CLS]", "[SEP]")
            },
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "vocab": {text: i for i, text in enumerate(tokens)},
            "merges": [list(merge) for merge in MERGES],
        },
    }
    if style == "runs":
        said["normalizer"] = {
            "type": "Sequence",
            "normalizers": [
                {"type": "Strip", "strip_left": True, "strip_right": True},
                {"type": "Replace", "pattern": {"Regex": "N{10,}"}, "content": "-"},
            ],
        }
        said["pre_tokenizer"] = {
            "type": "Split",
            "pattern": {"String": "-"},
            "behavior": "Isolated",
            "invert": False,
        }
        said["post_processor"] = {
            "type": "BertProcessing",
            "sep": ["[SEP]", special.index("[SEP]")],
            "cls": ["[CLS]", special.index("[CLS]")],
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said))
    return path

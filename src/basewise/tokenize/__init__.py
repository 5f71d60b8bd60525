"""Tokenizers: how a sequence becomes the ids a model reads, and which bases each id covers.

One component per kind of vocabulary; `load_tokenizer` reads back what `save` wrote.
"""

from __future__ import annotations

from basewise.registry import Registry
from basewise.tokenize.base import Encoded, Tokenizer, load_tokenizer

__all__ = ["TOKENIZERS", "Encoded", "Tokenizer", "load_tokenizer"]

TOKENIZERS = Registry(
    "tokenizer",
    {
        "bpe": "basewise.tokenize.bpe:Bpe",
        "kmer": "basewise.tokenize.kmer:Kmer",
        "nucleotide": "basewise.tokenize.nucleotide:Nucleotide",
        "nucleotide_transformer": (
            "basewise.tokenize.nucleotide_transformer:NucleotideTransformer"
        ),
    },
)

"""k-mers, overlapping or not, in the order of DNABERT's vocabulary."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from basewise.errors import DataError
from basewise.registry import component
from basewise.sequence.kmers import kmer_numbers
from basewise.tokenize.base import Encoded, Tokenizer, check_codes, check_letters
from basewise.types import Codes, Ints, Tokens

__all__ = ["ATCG_CODES", "Kmer"]

_ROLES = ("pad", "unknown", "cls", "sep", "mask")
# DNABERT and the Nucleotide Transformer count their k-mers in the order A, T, C, G.
ATCG_CODES = np.array([0, 2, 3, 1, 4], np.uint8)


@component
class Kmer(Tokenizer):
    """Windows of k bases, `stride` apart.

    The vocabulary is DNABERT's: [PAD], [UNK], [CLS], [SEP], [MASK], then all k-mers in the
    order A, T, C, G (Ji et al. 2021). A k-mer with an N is [UNK]. Where the stride does not
    reach the end, a last window is set against it, so that the last bases are read too;
    with a stride above k the bases between windows are in no token.

    Attributes
    ----------
    k : int
        Bases per token, 1 to 12.
    stride : int
        Bases from one token to the next; 1 is DNABERT's.
    special_tokens : bool
        Whether [CLS] comes first and [SEP] last. The vocabulary is the same without them.
    """

    k: Annotated[int, Field(ge=1, le=12)]
    stride: Annotated[int, Field(ge=1)] = 1
    special_tokens: bool = True

    def vocabulary(self) -> list[str]:
        kmers = map("".join, itertools.product("ATCG", repeat=self.k))
        return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *kmers]

    @property
    def vocabulary_size(self) -> int:
        return len(_ROLES) + int(4**self.k)

    @property
    def special(self) -> Mapping[str, int]:
        return {role: i for i, role in enumerate(_ROLES)}

    @property
    def frame_safe_n(self) -> bool:
        return True

    def encode(self, sequence: str) -> Tokens:
        codes = check_letters(sequence)[None]
        ids, b = self.encode_codes(codes).ids[0], len(sequence)
        starts = self._starts(b)
        spans = np.stack([starts, starts + self.k], axis=1)
        if self.special_tokens:
            spans = np.concatenate([[[0, 0]], spans, [[b, b]]])
        return Tokens(ids, spans)

    def encode_codes(self, codes: Codes) -> Encoded:
        codes = check_codes(codes)
        numbers = kmer_numbers(ATCG_CODES[codes], self.k)[:, self._starts(codes.shape[1])]
        ids = np.where(numbers < 0, self.special["unknown"], numbers + len(_ROLES))
        if self.special_tokens:
            ends = (self.special["cls"], self.special["sep"])
            ids = np.pad(ids, ((0, 0), (1, 1)), constant_values=((0, 0), ends))
        return Encoded(ids, np.full(len(ids), ids.shape[1]))

    def _starts(self, b: int) -> Ints:
        last = b - self.k
        if last < 0:
            raise DataError(
                f"A sequence of {b} bases holds no {self.k}-mer; "
                f"sequences of at least {self.k} bases are needed."
            )
        starts = np.arange(0, last + 1, self.stride)
        return starts if starts[-1] == last else np.append(starts, last)

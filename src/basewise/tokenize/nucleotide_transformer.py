"""The 6-mers of the Nucleotide Transformer, with single bases where no 6-mer fits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Literal

import numpy as np

from basewise.registry import component
from basewise.sequence.alphabet import N
from basewise.sequence.kmers import kmer_numbers
from basewise.tokenize.base import Encoded, Tokenizer, check_codes, check_letters
from basewise.tokenize.kmer import ATCG_CODES
from basewise.types import Bools, Codes, Tokens

__all__ = ["NucleotideTransformer"]

_SPECIAL = {
    1: ("<unk>", "<pad>", "<mask>", "<cls>"),
    2: ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>"),
}
_ROLES = ("unknown", "pad", "mask", "cls", "eos", "bos")


@component
class NucleotideTransformer(Tokenizer):
    """Greedy 6-mers from the left; single bases where fewer than six are left before an N.

    An N is a token of its own and starts the frame anew, so an N in place of a base changes
    tokens far behind it. [CLS] is put in front, nothing behind. Source: the published
    vocabularies of versions 1 and 2 (Dalla-Torre et al. 2023). Version 1's `<eos>` and
    `<bos>` lie outside the model's 4105 outputs and are not part of this vocabulary.

    Attributes
    ----------
    version : {1, 2}
        1: four special tokens, 4105 entries. 2: six, 4107 entries.
    """

    version: Literal[1, 2] = 2

    def vocabulary(self) -> list[str]:
        kmers = map("".join, itertools.product("ATCG", repeat=6))
        return [*_SPECIAL[self.version], *kmers, *"ATCGN"]

    @property
    def special(self) -> Mapping[str, int]:
        n = len(_SPECIAL[self.version])
        return {role: i for i, role in enumerate(_ROLES[:n])}

    def encode(self, sequence: str) -> Tokens:
        codes, b = check_letters(sequence)[None], len(sequence)
        if "N" in sequence.upper():
            edges = np.append(np.flatnonzero(_pieces(codes)[0][0]), b)
        else:
            edges = np.concatenate([np.arange(0, b // 6 * 6, 6), np.arange(b // 6 * 6, b + 1)])
        spans = np.zeros((len(edges), 2), int)
        spans[1:, 0], spans[1:, 1] = edges[:-1], edges[1:]
        return Tokens(self.encode_codes(codes).ids[0], spans)

    def encode_codes(self, codes: Codes) -> Encoded:
        order, first = ATCG_CODES[check_codes(codes)], len(_SPECIAL[self.version])
        if not (codes == N).any():
            return self._unbroken(order, first)
        starts, six = _pieces(codes)
        ids = order.astype(np.int64) + first + 4**6
        numbers = kmer_numbers(order, 6)
        ids[:, : numbers.shape[1]][six] = numbers[six] + first
        lengths = 1 + starts.sum(axis=1)
        packed = np.full((len(codes), int(lengths.max(initial=1))), self.pad_id)
        packed[:, 0] = self.special["cls"]
        rows, bases = np.nonzero(starts)
        packed[rows, np.cumsum(starts, axis=1)[rows, bases]] = ids[rows, bases]
        return Encoded(packed, lengths)

    def _unbroken(self, order: Codes, first: int) -> Encoded:
        """Rows without N, whose tokens stand one below the other."""
        n, b = order.shape
        end = b // 6 * 6
        sixes = order[:, :end].reshape(n, -1, 6) @ 4 ** np.arange(6)[::-1]
        ids = np.empty((n, 1 + sixes.shape[1] + b - end), np.int64)
        ids[:, 0] = self.special["cls"]
        ids[:, 1 : 1 + sixes.shape[1]] = sixes + first
        ids[:, 1 + sixes.shape[1] :] = order[:, end:]
        ids[:, 1 + sixes.shape[1] :] += first + 4**6
        return Encoded(ids, np.full(n, ids.shape[1]))


def _pieces(codes: Codes) -> tuple[Bools, Bools]:
    """Where tokens start, (n, b), and which of the windows of six are one token, (n, w)."""
    n, b = codes.shape
    at = np.broadcast_to(np.arange(b), (n, b))
    unknown = codes == N
    # Runs of known bases: how far each base is into its run, and where the run ends.
    after_n = np.maximum.accumulate(np.where(unknown, at + 1, 0), axis=1)
    next_n = np.minimum.accumulate(np.where(unknown, at, b)[:, ::-1], axis=1)[:, ::-1]
    offset, length = at - after_n, next_n - after_n
    six = ~unknown & (offset % 6 == 0) & (offset + 6 <= length)
    single = unknown | (offset >= length // 6 * 6)
    return six | single, six[:, : max(b - 5, 0)]

"""One token per base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from basewise.registry import component
from basewise.sequence.alphabet import LETTERS
from basewise.tokenize.base import Encoded, Tokenizer, check_codes, check_letters
from basewise.types import Codes, Ints, Tokens

__all__ = ["Nucleotide"]

_HYENADNA = ("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]", *LETTERS)


@component
class Nucleotide(Tokenizer):
    """One token per base; token i is base i.

    Attributes
    ----------
    layout : {"plain", "hyenadna"}
        `plain`: A 0, C 1, G 2, T 3, N 4, pad 5, and nothing else. `hyenadna`: the ids of
        the published HyenaDNA checkpoints, A 7 to N 11 behind seven special tokens; [SEP]
        follows the bases and no [CLS] precedes them (Nguyen et al. 2023, the `-hf` files).
        Its [MASK] is in the vocabulary but was never trained: the model is causal.
    """

    layout: Literal["plain", "hyenadna"] = "plain"

    def vocabulary(self) -> list[str]:
        return list(_HYENADNA) if self.layout == "hyenadna" else [*LETTERS, "[PAD]"]

    @property
    def special(self) -> Mapping[str, int]:
        if self.layout == "plain":
            return {"pad": 5}
        roles = ("cls", "sep", "bos", "mask", "pad", "reserved", "unknown")
        return {role: i for i, role in enumerate(roles)}

    @property
    def letter_ids(self) -> Ints:
        """The ids of A, C, G, T and N, (5,)."""
        return np.arange(len(LETTERS)) + (7 if self.layout == "hyenadna" else 0)

    @property
    def tokens_are_bases(self) -> bool:
        return True

    @property
    def frame_safe_n(self) -> bool:
        return True

    def encode(self, sequence: str) -> Tokens:
        ids = self._ids(check_letters(sequence)[None])[0]
        spans = np.empty((len(ids), 2), int)
        spans[:, 0] = np.arange(len(ids))
        np.minimum(spans[:, 0] + 1, len(sequence), out=spans[:, 1])
        return Tokens(ids, spans)

    def encode_codes(self, codes: Codes) -> Encoded:
        ids = self._ids(check_codes(codes))
        return Encoded(ids, np.full(len(ids), ids.shape[1]))

    def _ids(self, codes: Codes) -> Ints:
        """Ids, (n, t), of codes, (n, b)."""
        ids = self.letter_ids[codes]
        if self.layout == "hyenadna":
            ids = np.pad(ids, ((0, 0), (0, 1)), constant_values=self.special["sep"])
        return ids

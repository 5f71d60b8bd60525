"""What the letters around a base alone can do: how often k-mers have the label at their middle.

A model of bases that is not clearly better has learned which short words the label is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from basewise.errors import ConfigError
from basewise.registry import component
from basewise.sequence.alphabet import encode
from basewise.sequence.kmers import kmer_numbers
from basewise.tokenize.labelling import label_bases
from basewise.types import BACKGROUND, Floats, Ints, Record

__all__ = ["BaseBaseline", "BaseKmers"]


@dataclass(frozen=True, eq=False)
class BaseBaseline:
    """Shares of k-mers that have a label at their middle base.

    Attributes
    ----------
    k : int
        Odd: as many bases before the middle as behind it.
    share : (4**k + 1,) float
        Of every k-mer, by number; the last is that of all bases, for places where no known
        k-mer fits (ends, unknown bases).
    """

    k: int
    share: Floats

    @property
    def parameters(self) -> int:
        """Number of fitted numbers."""
        return self.share.size

    def predict_label(self, records: Sequence[Record]) -> list[Floats]:
        """The probability of the label at every base, (b,) of each record."""
        return [self.share[_centred(record, self.k)] for record in records]


@component
class BaseKmers:
    """Counts, on training records, how often each k-mer has the label at its middle.

    A share is drawn towards that of all bases by as many counts as `weight`.

    Attributes
    ----------
    k : int
        Length of the words, odd.
    weight : float
        Bases that the share of all counts as.
    """

    k: Annotated[int, Field(ge=1, le=11)] = 7
    weight: Annotated[float, Field(gt=0)] = 20.0

    def fit(self, records: Sequence[Record], label: str) -> BaseBaseline:
        """The shares on these records.

        Raises
        ------
        ConfigError
            If k is even, so that no base is in the middle.
        """
        if self.k % 2 == 0:
            raise ConfigError(f"k = {self.k}: an odd number has a base in the middle.")
        names = sorted({span.name for record in records for span in record.truth} | {label})
        at = 1 + names.index(label)
        words = 4**self.k
        seen, true = np.zeros(words + 1), np.zeros(words + 1)
        for record in records:
            word = _centred(record, self.k)
            labelled = label_bases([record], [BACKGROUND, *names])[0] == at
            np.add.at(seen, word, 1)
            np.add.at(true, word[labelled], 1)
        share = true.sum() / seen.sum()
        found = (true + self.weight * share) / (seen + self.weight)
        found[-1] = share
        return BaseBaseline(self.k, found)


def _centred(record: Record, k: int) -> Ints:
    """The number of the k-mer around every base, (b,); 4**k where there is none."""
    found = np.full(len(record.sequence), 4**k)
    if len(record.sequence) >= k:
        numbers = kmer_numbers(encode(record.sequence)[None], k)[0]
        found[k // 2 : k // 2 + len(numbers)] = np.where(numbers < 0, 4**k, numbers)
    return found

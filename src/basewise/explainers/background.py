"""Switching off by showing other sequences."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from basewise.data import read
from basewise.errors import DataError
from basewise.explainers.masking import replacing
from basewise.models.switchboards import Switchboard
from basewise.motifs.pvalue import check_background
from basewise.registry import component
from basewise.sequence.alphabet import encode_rows
from basewise.types import Codes, Ints, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Background"]


@component
class Background:
    """Absent bases are those of other sequences in the same places, averaged over `draws`.

    These are the reference values of SHAP (Lundberg & Lee 2017, equation 11: features are taken
    as independent of each other). A record's backgrounds are drawn without replacement from
    those that are as long as it is, or longer (places count from the first base), and are not
    the record's own sequence.

    Attributes
    ----------
    file : str or None
        Background sequences, in any format that `basewise.read` reads.
    sequences : list of str
        Background sequences themselves.
    composition : list of 4 floats or None
        Probabilities of A, C, G, T of random backgrounds of independent bases.
    draws : int
        Backgrounds of each record; each costs one evaluation per coalition.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)
    file: str | None = None
    sequences: tuple[str, ...] = ()
    composition: tuple[float, float, float, float] | None = None
    draws: Annotated[int, Field(ge=1)] = 5

    @field_validator("sequences")
    @classmethod
    def _letters(cls, sequences: tuple[str, ...]) -> tuple[str, ...]:
        if any(set(sequence) - set("ACGTN") for sequence in sequences):
            raise ValueError("sequences are spelled in the letters A, C, G, T and N")
        return sequences

    @field_validator("composition")
    @classmethod
    def _probabilities(
        cls, composition: tuple[float, float, float, float] | None
    ) -> tuple[float, float, float, float] | None:
        if composition is not None:
            check_background(composition)
        return composition

    @model_validator(mode="after")
    def _one_source(self) -> Background:
        if (self.file is not None) + bool(self.sequences) + (self.composition is not None) != 1:
            raise ValueError(
                "backgrounds come from one of file = '...', sequences = [...] and "
                "composition = [A, C, G, T]; give one of them"
            )
        return self

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        return replacing(record, self.drawn(record, rng), tokens, units, model)

    def drawn(self, record: Record, rng: np.random.Generator) -> Codes:
        """The backgrounds of a record, (draws, b).

        Raises
        ------
        DataError
            If too few of them are long enough.
        """
        b = len(record.sequence)
        if self.composition is not None:
            shares = check_background(self.composition)
            return rng.choice(4, (self.draws, b), p=shares).astype(np.uint8)
        texts, lengths = self._pool
        fitting = np.flatnonzero((lengths >= b) & (texts != record.sequence))
        if len(fitting) < self.draws:
            raise DataError(
                f"Record {record.id!r} has {b} bases, and {len(fitting)} of {len(texts)} "
                f"background sequences are other sequences of at least that length; draws = "
                f"{self.draws} are asked for. Give longer sequences or fewer draws."
            )
        chosen = rng.choice(fitting, self.draws, replace=False)
        return encode_rows([text[:b] for text in texts[chosen].tolist()])

    @functools.cached_property
    def _pool(self) -> tuple[np.ndarray[tuple[int], np.dtype[np.object_]], Ints]:
        """The sequences, (n,), and their lengths."""
        texts = self.sequences
        if self.file is not None:
            texts = tuple(record.sequence for record in read(Path(self.file)))
        return np.array(texts, object), np.array([len(text) for text in texts])

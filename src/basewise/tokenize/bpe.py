"""Byte-pair encoding from a published `tokenizer.json`, through the `tokenizers` library."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, model_validator

from basewise.errors import DataError, StoreError
from basewise.registry import component
from basewise.sequence.alphabet import decode, decode_rows
from basewise.store import write_text
from basewise.tokenize.base import Encoded, Tokenizer, check_codes, check_letters
from basewise.tokenize.definition import Definition, compact, prune, read_definition
from basewise.types import Codes, Ints, Tokens

if TYPE_CHECKING:
    import tokenizers

__all__ = ["Bpe"]

_ROLES = {"unk": "unknown", "pad": "pad", "mask": "mask", "cls": "cls", "sep": "sep"}


@component
class Bpe(Tokenizer):
    """The tokenizer of a `tokenizer.json`, exact ids, optionally pruned.

    The special tokens that the file puts around a sequence are put; its truncation and
    padding are not applied: nothing is cut silently. Every base is in exactly one token.
    A long run of N that the file's normalizer turns into one token (GENA-LM's `-`) is
    covered whole by it.

    Attributes
    ----------
    file : Path
        A `tokenizer.json` with a BPE model of DNA. Read on first use.
    max_length : int or None
        Prune tokens of more bases; see `prune_bpe`.
    compact : bool
        Renumber the kept tokens 0, 1, 2, ...; `published_ids` has their ids in the file.
        Needs `max_length`.
    """

    file: Path
    max_length: Annotated[int, Field(ge=1)] | None = None
    compact: bool = False

    @model_validator(mode="after")
    def _compact_needs_length(self) -> Bpe:
        if self.compact and self.max_length is None:
            raise ValueError("compact = true needs max_length, the bases of the longest token")
        return self

    @functools.cached_property
    def definition(self) -> Definition:
        """The content of the `tokenizer.json` in force, after pruning."""
        kept = self._kept
        return compact(kept) if self.compact else kept

    @functools.cached_property
    def published_ids(self) -> Ints:
        """The id in `file` of each id of this tokenizer, (vocabulary_size,).

        The rows an embedding matrix keeps: `matrix[published_ids]`. The identity unless
        `compact`.
        """
        if not self.compact:
            return np.arange(self.vocabulary_size)
        return np.sort(np.fromiter(self._kept["model"]["vocab"].values(), np.int64))

    def vocabulary(self) -> list[str]:
        texts = self._texts
        return [texts.get(i, "") for i in range(max(texts) + 1)]

    @property
    def vocabulary_size(self) -> int:
        return max(self._texts) + 1

    @functools.cached_property
    def special(self) -> Mapping[str, int]:
        ids = {text: i for i, text in self._texts.items()}
        spelled = {
            role: ids[text]
            for name, role in _ROLES.items()
            for text in (f"[{name.upper()}]", f"<{name}>")
            if text in ids
        }
        if "pad" not in spelled:
            raise StoreError(f"{self.file} has no padding token ([PAD] or <pad>).")
        return spelled

    def encode(self, sequence: str) -> Tokens:
        text = decode(check_letters(sequence))
        found = self._rust.encode(text)
        # A token reaches from the end of the one before it to its own end: the library
        # gives a run of N that was normalised into one token the run's last base only.
        ends = np.maximum.accumulate(np.array([0, *(end for _, end in found.offsets)]))
        spans = np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int64)
        for (start, end), token in zip(spans.tolist(), found.tokens, strict=True):
            if end - start > 1 and text[start:end] not in (token, "N" * (end - start)):
                raise DataError(
                    f"{self.file} reads bases {start} to {end} ({text[start:end]}) as {token!r}: "
                    "it has no token for one of them."
                )
        if ends[-1] != len(text):
            raise DataError(
                f"{self.file} has no token for bases {ends[-1]} to {len(text)} of the sequence."
            )
        return Tokens(np.array(found.ids, np.int64), spans)

    def encode_codes(self, codes: Codes) -> Encoded:
        found = self._rust.encode_batch_fast(decode_rows(check_codes(codes)))
        rows = [row.ids for row in found]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.full((len(rows), int(lengths.max(initial=0))), self.pad_id)
        real = np.arange(ids.shape[1]) < lengths[:, None]
        ids[real] = np.fromiter(itertools.chain.from_iterable(rows), np.int64, lengths.sum())
        return Encoded(ids, lengths)

    def save(self, folder: Path) -> None:
        """Write the tokenizer in force: `tokenizer.json`, which `transformers` reads too.

        A compacted tokenizer also leaves `published_ids.json`, the id map.
        """
        folder = Path(folder)
        write_text(folder / "tokenizer.json", json.dumps(self.definition))
        if self.compact:
            write_text(folder / "published_ids.json", json.dumps(self.published_ids.tolist()))
        Tokenizer.save(Bpe(file=Path("tokenizer.json")), folder)

    @functools.cached_property
    def _kept(self) -> Definition:
        whole = read_definition(self.file)
        return whole if self.max_length is None else prune(whole, self.max_length)

    @functools.cached_property
    def _texts(self) -> dict[int, str]:
        added = {
            token["id"]: token["content"] for token in self.definition.get("added_tokens") or []
        }
        return {i: token for token, i in self.definition["model"]["vocab"].items()} | added

    @functools.cached_property
    def _rust(self) -> tokenizers.Tokenizer:
        import tokenizers

        try:
            return tokenizers.Tokenizer.from_str(json.dumps(self.definition))
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise StoreError(f"{self.file} is not a whole tokenizer.json ({error}).") from None

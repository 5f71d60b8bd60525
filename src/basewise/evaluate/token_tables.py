"""Tables of token scores: one row per token with `token`, `score` and, where known, `count`.

Tables of other tools name these columns differently; they are found by the names in `ALIASES`,
in upper or lower case, and anything else (an index, other statistics) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.sequence.alphabet import reverse_complement

__all__ = ["ALIASES", "canonical_table", "canonical_tokens", "read_token_table", "token_table"]

ALIASES: Mapping[str, tuple[str, ...]] = {
    "token": ("token", "tokens", "kmer", "k-mer", "word"),
    "score": ("score", "scores", "mean_score", "mean", "tp_percent", "tp_ratio", "importance"),
    "count": ("count", "counts", "cnt", "n", "occurrences"),
}
"""For each column, the names it may have, lower case, the preferred one first."""


def token_table(
    frame: pd.DataFrame, name: str = "The table", columns: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """A table of token scores with its columns under their own names, checked.

    Parameters
    ----------
    frame : DataFrame
        One row per token.
    name : str
        What errors call the table: a file, or the name of a method.
    columns : mapping of str to str, optional
        `token`, `score` or `count` -> the name of that column here; without it a column is
        found by `ALIASES`.

    Returns
    -------
    DataFrame
        token (str), score (float), count (float; NaN where the table has none), in the order
        given.

    Raises
    ------
    DataError
        If there is no column of tokens or scores, no row, a token twice or empty, or a score or
        count that is not a finite number.
    """
    found = {wanted: _column(frame, name, wanted, columns or {}) for wanted in ALIASES}
    if not len(frame):
        raise DataError(f"{name} has no rows; a ranking needs at least one token.")
    tokens = frame[found["token"]]
    if (bad := tokens.isna() | (tokens.astype(str).str.strip() == "")).any():
        raise DataError(f"{name}, row {int(bad.argmax())}: the token is empty; give its letters.")
    tokens = tokens.astype(str).str.strip()
    if (twice := tokens.duplicated()).any():
        first = int(twice.argmax())
        raise DataError(
            f"{name}, row {first}: the token {tokens.iloc[first]!r} stands there a second time; "
            "a table has one row per token."
        )
    count = np.full(len(frame), np.nan)
    if found["count"] is not None and frame[found["count"]].notna().any():
        count = _numbers(frame[found["count"]], tokens, name, "count")
    return pd.DataFrame(
        {
            "token": tokens.to_numpy(object),
            "score": _numbers(frame[found["score"]], tokens, name, "score"),
            "count": count,
        }
    )


def read_token_table(
    path: str | Path, columns: Mapping[str, str] | None = None, sep: str | None = None
) -> pd.DataFrame:
    """A published table of token scores, from CSV, TSV or Parquet.

    Parameters
    ----------
    path : path
        `.parquet` is read as Parquet, `.tsv` and `.txt` (also `.gz`) by tabs, anything else by
        commas.
    columns : mapping, optional
        See `token_table`.
    sep : str, optional
        What parts the columns of a text file.

    Returns
    -------
    DataFrame
        See `token_table`.

    Raises
    ------
    DataError
        If the file is missing, or is no such table; the message names the file.
    """
    path = Path(path)
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if suffix == "parquet":
            frame = pd.read_parquet(path)
        else:
            sep = sep or ("\t" if suffix in ("tsv", "txt") else ",")
            # NA and NaN would be read as missing; tokens are letters, and so are they.
            frame = pd.read_csv(path, sep=sep, keep_default_na=False, na_values=[""])
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; give a table of tokens.") from None
    except ValueError as error:  # pandas' parser errors, broken text and Arrow's among them
        raise DataError(f"{path} is not a table ({str(error).splitlines()[0]}).") from None
    return token_table(frame, str(path), columns)


def canonical_tokens(tokens: Sequence[str]) -> list[str]:
    """Each token or its reverse complement, whichever comes first in the alphabet.

    Both name the same piece of double-stranded DNA. Text that is not all `ACGT` stays as it is.
    """
    return [
        min(token, str(reverse_complement(token))) if set(token) <= set("ACGT") else token
        for token in tokens
    ]


def canonical_table(frame: pd.DataFrame, name: str = "The table") -> pd.DataFrame:
    """A table of token scores with both strands of a token in one row; special tokens left out.

    The score is the mean of the two, weighted by their counts where the table has them.

    Parameters
    ----------
    frame : DataFrame
        As `token_table` takes it.

    Returns
    -------
    DataFrame
        token, score, count, sorted by token.

    Raises
    ------
    DataError
        As `token_table`, and if no token is made of `ACGT`.
    """
    table = token_table(frame, name)
    table = table[table["token"].str.fullmatch("[ACGT]+")]
    if table.empty:
        raise DataError(f"{name} has no token made of the letters ACGT; nothing has two strands.")
    counted = table["count"].notna().all() and (table["count"] > 0).all()
    weight = table["count"] if counted else 1.0
    grouped = (
        table.assign(token=canonical_tokens(table["token"].tolist()), weight=weight)
        .assign(total=lambda t: t["score"] * t["weight"])
        .groupby("token", sort=True)[["total", "weight"]]
        .sum()
    )
    return pd.DataFrame(
        {
            "token": grouped.index.to_numpy(object),
            "score": (grouped["total"] / grouped["weight"]).to_numpy(float),
            "count": grouped["weight"].to_numpy(float) if counted else np.nan,
        }
    )


def _column(frame: pd.DataFrame, name: str, wanted: str, said: Mapping[str, str]) -> str | None:
    """The name that a column has here; None where a table need not have it."""
    here = ", ".join(map(str, frame.columns)) or "none"
    if wanted in said:
        if said[wanted] not in frame.columns:
            raise DataError(f"{name} has no column {said[wanted]!r}; it has {here}.")
        return said[wanted]
    lower = {str(column).lower(): str(column) for column in reversed(list(frame.columns))}
    for alias in ALIASES[wanted]:
        if alias in lower:
            return lower[alias]
    if wanted == "count":
        return None
    raise DataError(
        f"{name} has no column of {wanted}s; it has {here}. Allowed are "
        f"{', '.join(ALIASES[wanted])}, or say it: columns={{{wanted!r}: '...'}}."
    )


def _numbers(column: pd.Series, tokens: pd.Series, name: str, what: str) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    if not (fine := np.isfinite(values)).all():
        row = int(np.argmin(fine))
        value = column.iloc[row]
        said = repr(value) if isinstance(value, str) else value
        raise DataError(
            f"{name}, row {row}: the {what} of {tokens.iloc[row]!r} is {said}; "
            "a finite number is needed. Leave the row out if there is none."
        )
    return values

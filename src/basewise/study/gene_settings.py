"""The tables `[genes]` and `[conservation]` of a study file: settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from basewise.errors import DataError
from basewise.registry import component

__all__ = ["Conservation", "GeneList", "Genes"]


@component
class GeneList:
    """A file with names of genes; see `basewise.data.gene_lists.read_gene_list`.

    Attributes
    ----------
    file : str
        CSV or TSV, in the data folder that the run is given.
    column : str
        Of the names.
    alias : str or None
        Of other names of the same genes.
    """

    file: str
    column: str = "gene"
    alias: str | None = None

    def names(self, root: Path | None) -> list[str]:
        from basewise.data.gene_lists import read_gene_list

        path = (root or Path()) / self.file
        if not path.exists():
            raise DataError(f"{path} does not exist; say where the data lie with --data DIR.")
        return read_gene_list(path, self.column, alias=self.alias)


def _lists(given: Any) -> dict[str, GeneList]:
    if not isinstance(given, Mapping):
        raise ValueError("is a table with a table for each set of genes")
    return {
        str(name): GeneList(**said) if isinstance(said, Mapping) else said
        for name, said in given.items()
    }


@component
class Genes:
    """The table `[genes]`: which genes of a genome attributions single out, against nulls.

    The scores of the explained windows of one genome are put together to a track, which has no
    score elsewhere. Genes, what lies between them, and sets of genes are held against shifts and
    against places of the same length and G+C; see `basewise.biology.region_scores`.

    Attributes
    ----------
    genome : str
        Which of `[data.genomes]`; it needs an annotation.
    sets : table
        From the name of a set of genes to its list; see `GeneList`.
    draws : int
        Shifts, and places of each region.
    upstream, downstream : int
        Bases before and behind a gene that are `promoter_proximal` and `terminator`.
    """

    genome: str
    sets: Annotated[dict[str, GeneList], PlainValidator(_lists)] = Field(default_factory=dict)
    draws: Annotated[int, Field(ge=99)] = 2000
    upstream: Annotated[int, Field(ge=0)] = 200
    downstream: Annotated[int, Field(ge=0)] = 100


@component
class Conservation:
    """The table `[conservation]`: do explanations of genes follow what their family keeps?

    Attributes
    ----------
    k : int
        Bases of the words that conservation counts; see `basewise.biology.conservation`.
    shares : list of float
        Of the bases, of largest score first, that are kept for the reconstruction.
    draws : int
        Shuffles of the rest that each reconstruction is averaged over.
    resamples : int
        Of the stretches of a gene, behind the intervals of its correlations.
    """

    k: Annotated[int, Field(ge=2, le=31)] = 10
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (
        0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0,
    )  # fmt: skip
    draws: Annotated[int, Field(ge=1)] = 4
    resamples: Annotated[int, Field(ge=99)] = 500

"""A study: one file that says what is asked, of which data, which models, by which methods."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import Field, PlainValidator, field_validator

from basewise.errors import ConfigError, UnknownName, nearest
from basewise.evaluate import CONTROLS, DEFAULT_CONTROLS
from basewise.explainers import EXPLAINERS
from basewise.registry import Registry, component, settings_of
from basewise.study.gene_settings import Conservation, Genes
from basewise.study.grid import expanded
from basewise.types import Precision, Read, Target

if TYPE_CHECKING:
    from basewise.evaluate.faithfulness import Faithfulness
    from basewise.study.datasets import Dataset
    from basewise.study.source import Source

T = TypeVar("T")

__all__ = [
    "DATASETS",
    "FORMAT",
    "MODELS",
    "TABLES",
    "About",
    "AsPublished",
    "Bases",
    "Biology",
    "Compare",
    "Controls",
    "Study",
    "load_study",
    "read_tables",
    "study_from",
]

DATASETS = Registry(
    "data set",
    {
        "files": "basewise.study.datasets:Files",
        "genes": "basewise.study.genomes:GenesAndGenomes",
        "genomes": "basewise.study.genomes:GenomeWindows",
        "grammar": "basewise.study.datasets:Grammar",
        "labelled_bases": "basewise.study.datasets:LabelledBases",
        "labelled_genome": "basewise.study.datasets:LabelledGenome",
    },
)

MODELS = Registry(
    "model",
    {
        "base_cnn": "basewise.study.scratch:BaseCnn",
        "base_graph": "basewise.study.scratch:BaseGraph",
        "base_recurrent": "basewise.study.scratch:BaseRecurrent",
        "base_two_scale": "basewise.study.scratch:BaseTwoScale",
        "base_unet": "basewise.study.scratch:BaseUNet",
        "checkpoint": "basewise.study.checkpoint:Checkpoint",
        "cnn": "basewise.study.scratch:Cnn",
        "cnn_lstm": "basewise.study.scratch:CnnLstm",
        "dnabert2": "basewise.study.scratch:Dnabert2",
        "gena": "basewise.study.scratch:Gena",
        "hyenadna": "basewise.study.scratch:HyenaDna",
        "nucleotide_transformer": "basewise.study.scratch:NucleotideTransformer",
    },
)


@component
class About:
    """The table `[study]`.

    Attributes
    ----------
    name : str
        Names the run's folder.
    title, question : str
        Printed on the report.
    seed : int
        Everything random derives from it.
    explained : int
        Test records that are explained, drawn with the seed; 0: all.
    precision : str
        What perturbed rows are evaluated with: `full`, or `auto` for bfloat16 where it is
        faster and its noise small on a sample, or `bfloat16`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    title: str = ""
    question: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    explained: Annotated[int, Field(ge=0)] = 500
    precision: Precision = "full"


@component
class Biology:
    """The table `[biology]`; without the table no motifs are looked for.

    Attributes
    ----------
    panel : str
        The motif panel; `none` looks for no motifs.
    shuffles : int
        Dinucleotide shuffles of each sequence behind the null of the hits.
    draws : int
        Random sign flips behind the p values of attribution inside hits and of interventions.
    interventions : int
        Explained sequences, per motif, that it is knocked out of and into; 0: of none.
    discovery : bool
        Whether motifs are looked for that nobody named, by TF-MoDISco (needs the extra `motifs`),
        in the attributions of explainers with hypothetical scores.
    """

    panel: str = "core_promoter"
    shuffles: Annotated[int, Field(ge=1)] = 20
    draws: Annotated[int, Field(ge=99)] = 9999
    interventions: Annotated[int, Field(ge=0)] = 100
    discovery: bool = False

    @field_validator("interventions")
    @classmethod
    def _enough(cls, interventions: int) -> int:
        if 0 < interventions < 10:
            raise ValueError("a test needs at least 10 sequences; 0 asks for none")
        return interventions


@component
class Bases:
    """The table `[bases]`: what stands beside models that label bases.

    Attributes
    ----------
    published : table
        From a name to a BED file of calls that others published; measured on the same bases.
    label_sets : table
        From a name to a BED file of another set of labels; measured alike.
    prevalence : float or None
        The share of labelled bases in the genome, to which metrics are projected too.
    repeats : list of str
        Families of dinucleotide repeats that regions are examined for: `CG`, `CA`, `GC/AC`;
        against other places of the test windows with as many G and C.
    genome : list of str
        FASTA files, plain or gzip: against places anywhere in these too.
    """

    published: dict[str, str] = Field(default_factory=dict)
    label_sets: dict[str, str] = Field(default_factory=dict)
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None = None
    repeats: tuple[str, ...] = ()
    genome: tuple[str, ...] = ()

    def genome_files(self, root: Path | None) -> list[Path]:
        """The genome, in the folder that paths are relative to."""
        return [(root or Path()) / file for file in self.genome]

    def files(self, root: Path | None) -> dict[str, Path]:
        """The BED files by name, in the folder that paths are relative to."""
        named = self.published | self.label_sets
        return {name: (root or Path()) / file for name, file in named.items()}

    @field_validator("repeats")
    @classmethod
    def _families(cls, repeats: tuple[str, ...]) -> tuple[str, ...]:
        for family in repeats:
            if not re.fullmatch("[ACGT]{2}(/[ACGT]{2})*", family):
                raise ValueError(f"{family!r} is no family of repeats; write 'CG' or 'GC/AC'")
        return repeats


@component
class AsPublished:
    """The table `[as_published]`: a reading of importance as published, beside the sound one.

    Attributes
    ----------
    word : str
        Letters that tokens are counted for; empty counts nothing.
    motif : str
        The motif of the panel of `[biology]` that the letters are taken for.
    top : int
        Tokens per sequence that are counted, of largest absolute score.
    """

    word: Annotated[str, Field(pattern=r"^[ACGT]*$")] = "TATA"
    motif: str = "TATA"
    top: Annotated[int, Field(ge=1)] = 10


@component
class Compare:
    """The table `[compare]`: how explanations of several models and explainers are compared.

    Attributes
    ----------
    kmer : int
        Bases of the k-mers on which models of any tokenizer are compared. Of 5 there are 512 of
        both strands, most of which some hundred sequences of some hundred bases hold often enough.
    top : float
        Share of the bases, with the largest absolute scores, of which `top_k` asks how many two
        explanations have in common.
    """

    kmer: Annotated[int, Field(ge=1, le=12)] = 5
    top: Annotated[float, Field(gt=0, lt=1)] = 0.1


def _controls(given: Any) -> tuple[Any, ...]:
    return tuple(CONTROLS.build(each) for each in given)


@component
class Controls:
    """The table `[controls]`; without the table explanations are not put to the test.

    Attributes
    ----------
    use : list of str or tables
        Controls, by name or as tables with `type` and settings; see `basewise list controls`.
    explainers : list of str
        Names of the study's explainers that are examined; all where empty.
    records : int
        Of those explained, how many; 0: all. Each costs several explanations.
    """

    use: Annotated[tuple[Any, ...], PlainValidator(_controls)] = Field(
        default=DEFAULT_CONTROLS, validate_default=True
    )
    explainers: tuple[str, ...] = ()
    records: Annotated[int, Field(ge=0)] = 20


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything a run needs, built and validated."""

    about: About
    data: Dataset
    models: Mapping[str, Source]
    target: Target
    explainers: Mapping[str, Any]
    bases: Bases
    biology: Biology
    as_published: AsPublished
    compare: Compare
    controls: Controls
    faithfulness: Faithfulness | None
    genes: Genes | None = None
    conservation: Conservation | None = None
    file: str = ""  # the name of its file, where it has one: what a run's folder knows it by

    def located(self, root: Path | None) -> Study:
        """The study with the files that its models name looked for in the data folder."""
        models = {name: source.located(root) for name, source in self.models.items()}
        return dataclasses.replace(self, models=models)

    def settings(self) -> dict[str, Any]:
        """The study as tables, every default filled in; `study_from` builds it again."""

        def typed(value: Any) -> dict[str, Any]:
            return {"type": Registry.name_of(value)} | settings_of(value)

        asked = {
            "faithfulness": self.faithfulness,
            "genes": self.genes,
            "conservation": self.conservation,
        }
        return {
            "study": settings_of(self.about),
            "data": typed(self.data),
            "models": {name: typed(value) for name, value in self.models.items()},
            "target": dataclasses.asdict(self.target),
            "explainers": {name: typed(value) for name, value in self.explainers.items()},
            "bases": settings_of(self.bases),
            "biology": settings_of(self.biology),
            "as_published": settings_of(self.as_published),
            "compare": settings_of(self.compare),
            "controls": settings_of(self.controls),
        } | {name: settings_of(each) for name, each in asked.items() if each is not None}


TABLES = (
    "study",
    "data",
    "models",
    "target",
    "explainers",
    "bases",
    "biology",
    "as_published",
    "compare",
    "controls",
    "faithfulness",
    "genes",
    "conservation",
)
FORMAT = 1  # of a run's folder and its lock file; part of the fingerprint of every step


def load_study(path: str | Path) -> Study:
    """The study in a TOML file, or in the `lock.json` of an earlier run.

    Raises
    ------
    ConfigError
        For a missing file, broken TOML, an unknown table, key or component, a value that is
        not allowed; the message names the file and the nearest known name.
    """
    path = Path(path)
    file, tables = read_tables(path)
    try:
        return dataclasses.replace(study_from(tables), file=file)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def read_tables(path: Path) -> tuple[str, dict[str, Any]]:
    """The name that the study of a file goes by, and its tables as they are written there.

    Raises
    ------
    ConfigError
        For a missing file or one that is not TOML, or no lock of a run.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; give a study file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.object[error.start]:#04x} at {error.start} is not UTF-8 text; "
            "give a study file."
        ) from None
    try:
        tables = (json if path.suffix == ".json" else tomllib).loads(text)
    except tomllib.TOMLDecodeError as error:
        advice = "; text stands in quotes." if "Invalid value" in str(error) else "."
        raise ConfigError(f"{path}: {error}{advice}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}.") from None
    if path.suffix != ".json":
        return path.name, tables
    file = tables.get("file", "") if isinstance(tables, dict) else ""
    return file, _of_lock(path, tables)


def _of_lock(path: Path, lock: Any) -> dict[str, Any]:
    """The study in a lock file."""
    if not isinstance(lock, dict) or lock.get("format") != FORMAT:
        said = lock.get("format") if isinstance(lock, dict) else None
        raise ConfigError(f"{path} is no lock file of format {FORMAT} (it says {said!r}).")
    return {key: value for key, value in lock.items() if key in TABLES}


def study_from(tables: Mapping[str, Any]) -> Study:
    """The study that tables describe; see `load_study`."""
    for key in tables:
        if key not in TABLES:
            raise ConfigError(
                f"no table [{key}].{nearest(key, TABLES)} Allowed are {', '.join(TABLES)}."
            )
        if not isinstance(tables[key], Mapping):
            raise ConfigError(f"{key} = {tables[key]!r} must be a table: write [{key}].")
    for key in ("study", "data", "models", "target", "explainers"):
        if not tables.get(key):
            raise ConfigError(f"the table [{key}] is needed.")
    study = Study(
        about=_settings("study", About, tables["study"]),
        data=DATASETS.build({"type": "files"} | dict(tables["data"])),
        models=_named("models", MODELS, tables["models"]),
        target=_target(tables["target"]),
        explainers=_named("explainers", EXPLAINERS, tables["explainers"]),
        bases=_settings("bases", Bases, tables.get("bases", {})),
        biology=_settings("biology", Biology, tables.get("biology", {"panel": "none"})),
        as_published=_settings(
            "as_published", AsPublished, tables.get("as_published", {"word": ""})
        ),
        compare=_settings("compare", Compare, tables.get("compare", {})),
        controls=_settings("controls", Controls, tables.get("controls", {"use": []})),
        faithfulness=_faithfulness(tables.get("faithfulness")),
        genes=_asked("genes", Genes, tables.get("genes")),
        conservation=_asked("conservation", Conservation, tables.get("conservation")),
    )
    for name in study.controls.explainers:
        if name not in study.explainers:
            raise UnknownName("explainer of this study", name, study.explainers)
    return study


def _faithfulness(table: Mapping[str, Any] | None) -> Faithfulness | None:
    """Nothing is measured without a table; what measures it is heavy to import."""
    if table is None:
        return None
    from basewise.evaluate.faithfulness import Faithfulness

    return _settings("faithfulness", Faithfulness, table)


def _settings(key: str, cls: type[T], table: Mapping[str, Any]) -> T:
    """The settings of one table; errors name it."""
    try:
        return cls(**table)
    except ConfigError as error:
        raise ConfigError(f"[{key}] {error}") from None


def _asked(key: str, cls: type[T], table: Mapping[str, Any] | None) -> T | None:
    """The settings of a table without which nothing is made."""
    return None if table is None else _settings(key, cls, table)


def _named(kind: str, registry: Registry, tables: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for given, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError(f"[{kind}.{given}] must be a table with a type.")
        try:
            for name, each in expanded(given, table).items():
                if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
                    raise ConfigError("names are letters, digits, '-', '_' and '.'.")
                found[name] = registry.build({"type": given} | each)
        except ConfigError as error:
            raise ConfigError(f"[{kind}.{given}] {error}") from None
    return found


def _is_region(where: Any) -> bool:
    return isinstance(where, tuple) and [type(bound) for bound in where] == [int, int]


def _target(table: Mapping[str, Any]) -> Target:
    known = [field.name for field in dataclasses.fields(Target)]
    for key in table:
        if key not in known:
            raise ConfigError(
                f"[target] has no setting {key!r}.{nearest(key, known)} It has {', '.join(known)}."
            )
    if "label" not in table:
        raise ConfigError("[target] needs the setting 'label': the class to explain, by name.")
    where = table.get("where")
    target = Target(**{**table, "where": tuple(where) if isinstance(where, list) else where})
    if not (where in (None, "labelled", "predicted") or _is_region(target.where)):
        raise ConfigError(
            f"[target] where = {where!r}: 'labelled', 'predicted' or [start, end] (0-based, "
            "half-open) is needed."
        )
    if not isinstance(target.label, str):
        raise ConfigError(f"[target] label = {target.label!r} is no text; write label = '...'.")
    if target.read not in (reads := get_args(Read)):
        raise ConfigError(
            f"[target] read = {target.read!r}: one of {', '.join(reads)} is needed."
            f"{nearest(target.read, reads)}"
        )
    return target

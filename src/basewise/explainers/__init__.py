"""Explainers, units, maskings and references. Adding one: write its file, add its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from basewise.errors import DataError
from basewise.registry import Registry

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.types import Attribution, Record, Target

__all__ = ["EXPLAINERS", "MASKINGS", "REFERENCES", "UNITS", "explain"]

EXPLAINERS = Registry(
    "explainer",
    {
        "anchors": "basewise.explainers.anchors:Anchors",
        "attention": "basewise.explainers.attention:Attention",
        "attention_rollout": "basewise.explainers.attention:AttentionRollout",
        "banzhaf": "basewise.explainers.banzhaf:Banzhaf",
        "deep_lift": "basewise.explainers.deep_lift:DeepLift",
        "exact_shapley": "basewise.explainers.exact_shapley:ExactShapley",
        "expected_gradients": "basewise.explainers.expected_gradients:ExpectedGradients",
        "input_x_gradient": "basewise.explainers.input_x_gradient:InputXGradient",
        "integrated_gradients": "basewise.explainers.integrated_gradients:IntegratedGradients",
        "kernel_shap": "basewise.explainers.kernel_shap:KernelShap",
        "leverage_shap": "basewise.explainers.leverage_shap:LeverageShap",
        "lime": "basewise.explainers.lime:Lime",
        "marginalisation": "basewise.explainers.marginalisation:Marginalisation",
        "mutagenesis": "basewise.explainers.mutagenesis:Mutagenesis",
        "occlusion": "basewise.explainers.occlusion:Occlusion",
        "partition_shap": "basewise.explainers.partition_shap:PartitionShap",
        "permutation_shap": "basewise.explainers.permutation_shap:PermutationShap",
        "random": "basewise.explainers.random:Random",
        "saliency": "basewise.explainers.saliency:Saliency",
        "smoothgrad": "basewise.explainers.smoothgrad:SmoothGrad",
    },
)

UNITS = Registry(
    "kind of units",
    {
        "bases": "basewise.explainers.units:Bases",
        "features": "basewise.explainers.marked:Features",
        "motifs": "basewise.explainers.marked:Motifs",
        "tokens": "basewise.explainers.units:TokenUnits",
        "windows": "basewise.explainers.units:Windows",
    },
)

MASKINGS = Registry(
    "masking",
    {
        "background": "basewise.explainers.background:Background",
        "deletion": "basewise.explainers.deletion:Deletion",
        "infill": "basewise.explainers.infill:Infill",
        "mask": "basewise.explainers.masking:MaskToken",
        "n": "basewise.explainers.masking:NBases",
        "pad": "basewise.explainers.masking:PadToken",
        "sampled": "basewise.explainers.masking:Sampled",
        "shuffled": "basewise.explainers.masking:Shuffled",
        "unknown": "basewise.explainers.masking:UnknownToken",
    },
)

REFERENCES = Registry(
    "reference",
    {
        "array": "basewise.explainers.references:ArrayReference",
        "frequencies": "basewise.explainers.references:Frequencies",
        "several": "basewise.explainers.references:Several",
        "shuffled": "basewise.explainers.references:ShuffledReference",
        "token": "basewise.explainers.references:TokenReference",
        "uniform": "basewise.explainers.references:Uniform",
        "zero": "basewise.explainers.references:Zero",
    },
)


def explain(
    model: Model,
    records: Sequence[Record],
    explainer: Any,
    target: str | Target,
    *,
    seed: int = 0,
    progress: Callable[[Attribution], None] | None = None,
    **settings: Any,
) -> list[Attribution]:
    """Explain one number of a model for many records, one `Attribution` each.

    Of a target of each `predicted` or `labelled` region there is one per region: none for a
    record without any.

    Parameters
    ----------
    model : Model
    records : sequence of Record
    explainer : str, table or component
        A name of `EXPLAINERS`, or an explainer already built.
    target : str or Target
        The label to explain, by name; a `Target` also says how it is read, and of which bases,
        where a model labels bases.
    seed : int
        Each record's random numbers derive from it, the record's id and the method, so its
        scores do not depend on its neighbours or their order.
    progress : callable, optional
        Called with each attribution as it is finished.
    **settings
        Settings of the explainer, such as `units="bases"`, `masking="n"`.

    Returns
    -------
    list of Attribution
        In the order of the records, and of the regions in each.

    Raises
    ------
    ConfigError
        For an unknown name or setting, or a seed that is no whole number of at least 0.
    DataError
        If what is given are no records, two have one id, a region is not within a record, or no
        record has one.
    CapabilityError
        If the model cannot serve this explainer, or memory runs out.

    Examples
    --------
    >>> import basewise as bw
    >>> model = bw.Model.from_callable(lambda seqs: [s.count("CG") for s in seqs], ["cpg"])
    >>> records = [bw.Record("a", "ATCGAT"), bw.Record("b", "CCGCGG")]
    >>> found = bw.explain(model, records, "exact_shapley", "cpg")
    >>> found[0].scores.round(2)
    array([0. , 0. , 0.5, 0.5, 0. , 0. ])
    >>> found[1].output, found[1].baseline, found[1].evaluations
    (2.0, 0.0, 64)

    Settings are given by name, tables inside them as dictionaries:

    >>> pairs = {"type": "windows", "size": 2}
    >>> bw.explain(model, records, "occlusion", "cpg", units=pairs)[1].scores
    array([1., 2., 1.])
    """
    if isinstance(explainer, str):
        explainer = {"type": explainer}
    if isinstance(explainer, Mapping):
        built = EXPLAINERS.build({**explainer, **settings})
    else:
        built = replace(explainer, **settings)
    from basewise.explainers.regions import check_some, explain_regions
    from basewise.stats import check_seed

    check_seed(seed)
    records, target = _records(records), model.target(target)
    found = explain_regions(built, model, records, target, seed, progress)
    check_some(found, records, target)
    return found


def _records(given: Iterable[Record]) -> list[Record]:
    """The records.

    Raises
    ------
    DataError
        If something among them is none, or two have one id: scores are kept by it, and random
        numbers derive from it.
    """
    from basewise.types import Record

    if isinstance(given, Record):
        return [given]
    some = [given] if isinstance(given, str) else list(given)
    wrong = next((each for each in some if not isinstance(each, Record)), None)
    if wrong is not None:
        raise DataError(
            f"{wrong!r:.60} is no record; give a list of them, [Record('name', 'ACGT...')], or "
            "what basewise.read finds in a file."
        )
    places: dict[str, int] = {}
    for i, record in enumerate(some):
        if (first := places.setdefault(record.id, i)) != i:
            raise DataError(
                f"Records {first} and {i} (from 0) have one id, {record.id!r}; scores are kept by "
                "it, so give each record its own."
            )
    return some

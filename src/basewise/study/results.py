"""What lies in the folder of a run, and how to read it.

```
<run>/lock.json               every default filled in, versions, hashes, seeds: it re-runs the study
      steps.json              which steps are done, and for what
      running.json            who runs here now; gone when nobody does
      finished.json           by which bytes a finished run is recognised
      log.jsonl               what happened, a line each
      data/<split>.parquet    the records of each split;  data/summary.json: counts and sources
      audit.json
      models/<model>/         a save_pretrained folder
      predictions/<model>.parquet
      attributions/<model>/<explainer>-<fingerprint>/part-*.parquet
      metrics/training/<model>.json   what each model is, and how long training took
      metrics/models.parquet          quality of each model and of the baseline
      metrics/bases.parquet           models that label bases, beside published calls and labels
      metrics/base_calibration.parquet, metrics/base_curves.parquet, metrics/base_repeats.parquet
      rankings/base_tokens.parquet, rankings/base_kmers.parquet   true-positive ratios of tokens
      predictions/bases/<model>.parquet   the label's probability at every base of test
      predictions/base_calls.parquet      stretches that are labelled, or called by whom
      metrics/explainers.parquet      cost and completeness of each explainer
      metrics/references.parquet      how much explanations depend on their reference
      metrics/reference_records.parquet   the same, record by record
      metrics/localisation.parquet    how much planted truth each explainer found (if any is known)
      metrics/agreement.parquet       how much explainers and models agree, against shifts
      metrics/agreement_records.parquet, metrics/consensus.parquet
      metrics/faithfulness.parquet, metrics/faithfulness_curves.parquet
      metrics/controls.parquet        a verdict per model, explainer and control
      rankings/tokens.parquet, rankings/kmers.parquet      scores of tokens and of k-mers
      rankings/combined.parquet       k-mers ranked over all models and explainers
      rankings/token_ratios.parquet   true-positive ratios of tokens: of data and labels
      rankings/occurrences/<model>/<explainer>.parquet     one row per token of a record
      biology/hits.parquet, biology/class_enrichment.parquet,
      biology/attribution_enrichment.parquet
      biology/interventions.parquet         motifs knocked out and in, against control edits
      biology/seqlets.parquet, biology/patterns.parquet     stretches of attribution; de novo motifs
      genes/*.parquet                 genes against nulls; see `gene_tables.TABLES`
      conservation/*.parquet          see `conserved.TABLES`
      as_published/*.parquet          see `as_published.AS_PUBLISHED`
      report/index.html
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from basewise.errors import MissingExtra, StoreError, UnknownName
from basewise.remote import Twin, is_url
from basewise.store import attribution_table, read_attributions, read_frame, read_records
from basewise.types import Attribution, Record

if TYPE_CHECKING:
    import pandas as pd

    from basewise.checks import Audit

__all__ = ["Run", "folder_of", "open_run"]

TableKind = Literal["arrow", "pandas", "polars"]


@dataclass(frozen=True)
class Run:
    """The folder of a run, read lazily.

    What a step has not written yet reads as empty, and so does what it wrote for other settings
    than those of the lock: a run that was killed, or failed, after a change of its study shows
    nothing of before.
    """

    folder: Path

    @property
    def lock(self) -> dict[str, Any]:
        """The study with every default filled in; versions, hashes and seeds."""
        return self._json("lock.json")

    @property
    def data(self) -> dict[str, Any]:
        """Per split: `n`, `labels` (counts), `shortest`, `longest`, `source`, `skipped`."""
        return self._json("data/summary.json") if self.holds("prepare") else {}

    @property
    def audit(self) -> Audit | None:
        """Findings on the data set, if it was audited."""
        from basewise.checks import Audit

        path = self.folder / "audit.json"
        if not self.holds("audit"):
            return None
        return Audit.from_json(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(self.lock.get("models", {}))

    @property
    def explainers(self) -> list[str]:
        """Names the study gives its explainers."""
        return list(self.lock.get("explainers", {}))

    def records(self, split: str) -> list[Record]:
        """The records of one split (`train`, `dev`, `test`, or `explained`)."""
        path = self.folder / "data" / f"{split}.parquet"
        return read_records(path) if path.exists() and self.holds("prepare") else []

    def attributions(self, model: str, explainer: str) -> list[Attribution]:
        """Every attribution of one model by one explainer, in the order of the records."""
        return [a for part in self.parts(model, explainer) for a in read_attributions(part)]

    def parts(self, model: str, explainer: str) -> Iterator[Path]:
        """The part files of the present settings."""
        place = self.lock.get("places", {}).get(f"{model}/{explainer}")
        if place:
            yield from sorted((self.folder / place).glob("part-*.parquet"))

    @property
    def tables(self) -> list[str]:
        """What `table` gives: the tables of a run, and the attributions of each explainer."""
        own = [
            name
            for name, each in vars(Run).items()
            if isinstance(each, property) and each.fget.__annotations__["return"] == "pd.DataFrame"
        ]
        return sorted(own) + [
            f"attributions/{model}/{name}" for model in self.models for name in self.explainers
        ]

    def table(self, name: str, kind: TableKind = "arrow") -> Any:
        """A table of the run, as `arrow`, `pandas` or `polars`.

        Of attributions each row is one: `record_id`, `sequence`, `model`, `label`, `read`,
        `where`, `method`, `kind`, `start`, `end` and `score` (lists, an element per span),
        `standard_error`, `hypothetical` (a list of 4 per base), `output`, `baseline`,
        `evaluations`, `seed`, `settings` and `extras` (JSON).

        Raises
        ------
        UnknownName
            If there is no such table; `tables` names all.
        MissingExtra
            If polars is asked for and not installed.
        """
        if name not in self.tables:
            raise UnknownName("table of this run", name, self.tables)
        if name.startswith("attributions/"):
            _, model, explainer = name.split("/")
            found = attribution_table(self.parts(model, explainer))
        else:
            found = pa.Table.from_pandas(getattr(self, name), preserve_index=False)
        if kind == "arrow":
            return found
        if kind == "pandas":
            return found.to_pandas()
        try:
            import polars
        except ImportError:
            raise MissingExtra(
                "Tables of polars need polars; install it with: pip install polars."
            ) from None
        return polars.from_arrow(found)

    def errors(self, model: str, explainer: str) -> list[dict[str, Any]]:
        """The shards that were set aside: `part`, `error`, `trace`, `records` (ids) of each."""
        place = self.lock.get("places", {}).get(f"{model}/{explainer}")
        found = sorted((self.folder / place).glob("part-*.error.json")) if place else []
        return [
            {"part": path.name.partition(".")[0]} | json.loads(path.read_text(encoding="utf-8"))
            for path in found
        ]

    def predictions(self, model: str) -> pd.DataFrame:
        """record_id, split, label, predicted, and `p:<label>` for every label of the model."""
        return self.frame(f"predictions/{model}", "predictions", "predict")

    @property
    def training(self) -> pd.DataFrame:
        """model, architecture, parameters, tokenizer, vocabulary (its size), seconds (of training
        or loading, also over several attempts), device."""
        found = {name: self._json(f"metrics/training/{name}.json") for name in self.models}
        rows = [{"model": name} | said for name, said in found.items() if said]
        import pandas as pd

        return pd.DataFrame(rows) if self.holds("train") else pd.DataFrame()

    @property
    def model_metrics(self) -> pd.DataFrame:
        """model, kind (`model` or `baseline`), parameters, split, metric, value, low, high, n."""
        return self.frame("metrics/models", "model_metrics", "predict")

    def bases(self, name: str) -> pd.DataFrame:
        """One of the tables of `study.bases.TABLES`, by the last part of its name."""
        folder = {"tokens": "rankings", "kmers": "rankings", "calls": "predictions"}
        where = folder.get(name.removeprefix("base_"), "metrics")
        return self.frame(f"{where}/{name}", name, "bases")

    def base_predictions(self, model: str) -> pd.DataFrame:
        """record_id, probability: of the label explained, at every base of each test record."""
        return self.frame(f"predictions/bases/{model}", "base_predictions", "bases")

    @property
    def explainer_metrics(self) -> pd.DataFrame:
        """model, explainer, method, n, evaluations (mean per record), median_gap, median_r2."""
        return self.frame("metrics/explainers", "explainer_metrics", "evaluate")

    @property
    def references(self) -> pd.DataFrame:
        """The columns of `study.measures.REFERENCES`: how much explanations depend on theirs."""
        return self.frame("metrics/references", "references", "evaluate")

    @property
    def reference_records(self) -> pd.DataFrame:
        """The columns of `study.measures.REFERENCE_RECORDS`: the same, record by record."""
        return self.frame("metrics/reference_records", "reference_records", "evaluate")

    @property
    def localisation(self) -> pd.DataFrame:
        """model, explainer, metric, value, low, high, n, chance; empty where no truth is known."""
        return self.frame("metrics/localisation", "localisation", "evaluate")

    @property
    def agreement(self) -> pd.DataFrame:
        """within, and the columns of `evaluate.agreement.AGREEMENT`: pairs of explainers of one
        model, and of models under one explainer."""
        return self.frame("metrics/agreement", "agreement", "compare")

    @property
    def agreement_records(self) -> pd.DataFrame:
        """The same, record by record: within, and `evaluate.agreement.RECORD_AGREEMENT`."""
        return self.frame("metrics/agreement_records", "agreement_records", "compare")

    @property
    def consensus(self) -> pd.DataFrame:
        """model, record_id, scores and spread (lists, one number per base), explainers."""
        return self.frame("metrics/consensus", "consensus", "compare")

    @property
    def faithfulness(self) -> pd.DataFrame:
        """model, explainer, and the columns of `evaluate.faithfulness.FAITHFULNESS` but track."""
        return self.frame("metrics/faithfulness", "faithfulness", "faithfulness")

    @property
    def faithfulness_curves(self) -> pd.DataFrame:
        """model, explainer (empty for random orders), and the columns of
        `evaluate.faithfulness.CURVES` but track."""
        return self.frame("metrics/faithfulness_curves", "faithfulness_curves", "faithfulness")

    @property
    def controls(self) -> pd.DataFrame:
        """model, explainer, and the columns of `evaluate.controls.CONTROL`."""
        return self.frame("metrics/controls", "controls", "controls")

    @property
    def tokens(self) -> pd.DataFrame:
        """model, explainer, and the columns of `evaluate.token_scores.TOKEN_SCORES`."""
        return self.frame("rankings/tokens", "tokens", "compare")

    @property
    def kmers(self) -> pd.DataFrame:
        """The same of k-mers of both strands, which models of any tokenizer have in common."""
        return self.frame("rankings/kmers", "kmers", "compare")

    @property
    def ranking(self) -> pd.DataFrame:
        """method, rank, token, value, p, q, rank_low, rank_high, tables, count, low, high."""
        return self.frame("rankings/combined", "combined", "compare")

    @property
    def token_ratios(self) -> pd.DataFrame:
        """model, and the columns of `evaluate.token_scores.TOKEN_RATIOS`, of explained records."""
        return self.frame("rankings/token_ratios", "token_ratios", "compare")

    def occurrences(self, model: str, explainer: str) -> pd.DataFrame:
        """Every occurrence of every token; see `evaluate.occurrences.OCCURRENCES`."""
        return self.frame(f"rankings/occurrences/{model}/{explainer}", "occurrences", "compare")

    @property
    def hits(self) -> pd.DataFrame:
        """Motif hits on the explained records."""
        return self.frame("biology/hits", "hits", "biology")

    @property
    def class_enrichment(self) -> pd.DataFrame:
        """Motif hits by class, against shuffles."""
        return self.frame("biology/class_enrichment", "class_enrichment", "biology")

    @property
    def attribution_enrichment(self) -> pd.DataFrame:
        """Attribution inside hits against matched positions, per model and explainer."""
        return self.frame("biology/attribution_enrichment", "attribution_enrichment", "biology")

    @property
    def interventions(self) -> pd.DataFrame:
        """model, and the columns of `biology.interventions.INTERVENTIONS`."""
        return self.frame("biology/interventions", "interventions", "biology")

    @property
    def seqlets(self) -> pd.DataFrame:
        """model, explainer, and the columns of `biology.seqlets.SEQLETS`."""
        return self.frame("biology/seqlets", "seqlets", "biology")

    @property
    def patterns(self) -> pd.DataFrame:
        """model, explainer, the columns of `biology.discovery.PATTERNS`; match, q of the motif of
        the panel it resembles most; reason, where an explainer's scores could not be used."""
        return self.frame("biology/patterns", "patterns", "biology")

    def genes(self, name: str) -> pd.DataFrame:
        """One of the tables of `study.gene_tables.TABLES`."""
        return self.frame(f"genes/{name}", name, "genes")

    def conserved(self, name: str) -> pd.DataFrame:
        """One of the tables of `study.conserved.TABLES`."""
        return self.frame(f"conservation/{name}", name, "conservation")

    def as_published(self, name: str) -> pd.DataFrame:
        """One of the tables of `study.as_published.AS_PUBLISHED`."""
        return self.frame(f"as_published/{name}", name, "as_published")

    def frame(self, name: str, schema: str, step: str) -> pd.DataFrame:
        """A table of the run; empty if the step that writes it has not run."""
        import pandas as pd

        path = self.folder / f"{name}.parquet"
        return read_frame(path, schema) if path.exists() and self.holds(step) else pd.DataFrame()

    def holds(self, step: str) -> bool:
        """Whether a step was done for the settings of the lock."""
        return step in self.lock.get("steps", ())

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.exists():
            return {}
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


def open_run(path: str | Path) -> Run:
    """The results of a run; of one in a store, of a copy here that is brought up to date.

    Parameters
    ----------
    path : path or str
        The run's folder, or its URL (`s3://bucket/runs/one`).

    Raises
    ------
    StoreError
        If the folder is not that of a run.
    """
    return Run(folder_of(path))


def folder_of(path: str | Path) -> Path:
    """The folder of a run, of a study or an experiment; see `open_run`."""
    folder = Path(path)
    if is_url(path):
        twin = Twin(str(path), use="reading")
        twin.pull()
        folder = twin.folder
    if not (folder / "lock.json").exists():
        raise StoreError(f"{path} is not the folder of a run: it has no lock.json.")
    return folder

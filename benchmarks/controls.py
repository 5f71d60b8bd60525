"""How well explanations find what was planted, how faithful they are, which controls they pass.

    python benchmarks/controls.py            # about eight minutes of processor time
    python benchmarks/controls.py --ceiling  # the grammar's own log-odds in place of a network

A network learns the demo's promoter grammar, where every base of the signal is known; then five
explainers are marked. The permuted labels are trained for as long as the model was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from basewise import Model, explain
from basewise.data.grammar import PromoterGrammar
from basewise.evaluate.localisation import localise, summarise
from basewise.study.run import run_study
from basewise.study.study import study_from

EXPLAINERS = {
    "occlusion": {},
    "lime": {},
    "kernel_shap": {},
    "integrated_gradients": {"reference": {"type": "shuffled", "draws": 10}},
    "mutagenesis": {},
    "random": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=40, help="explained and examined")
    parser.add_argument("--ceiling", action="store_true", help="explain the grammar itself")
    given = parser.parse_args()
    if given.ceiling:
        ceiling(3 * given.records)
    else:
        run_benchmark(given.records)


def run_benchmark(records: int) -> None:
    """Train, explain and mark; print the tables."""
    study = study_from(
        {
            "study": {"name": "controls", "seed": 7, "explained": records},
            "data": {
                "type": "grammar",
                "train": 20_000,
                "dev": 1000,
                "test": 1000,
                "grammar": {"type": "promoter", "length": 150, "tss": 110},
            },
            "models": {
                "cnn": {
                    "type": "cnn",
                    "network": {"channels": 48, "kernel": 5, "dilations": [1, 2]},
                    "training": {"epochs": 6, "batch_size": 128},
                }
            },
            "target": {"label": "promoter"},
            "explainers": EXPLAINERS,
            "faithfulness": {"records": records, "maskings": ["n", "shuffled"]},
            "controls": {
                "records": records,
                "use": [
                    "random_scores",
                    "randomised_layers",
                    {"type": "permuted_labels", "epochs": 6},
                    "decoys",
                    "strand",
                    "shift",
                ],
            },
        }
    )
    with TemporaryDirectory() as folder:
        run = run_study(study, Path(folder) / "run")
        found = run.localisation
        print("AUPRC of planted bases")
        columns = ["explainer", "value", "low", "high", "n", "chance"]
        print(found[found["metric"] == "auprc"][columns].round(3).to_string(index=False))
        print("\nFaithfulness, mean over maskings")
        table = run.faithfulness
        table = table[table["masking"].isin(["all", "substitution"])]
        wide = table.pivot_table(index="explainer", columns="metric", values="value", sort=False)
        print(wide.round(2).to_string())
        print("\nControls")
        table = run.controls
        columns = ["control", "explainer", "stage", "outcome", "value", "low", "high", "n"]
        print(table[columns].round(3).to_string(index=False))


def ceiling(n: int) -> None:
    """How well explainers find the planted bases if the model knows the grammar."""
    grammar = PromoterGrammar(length=150, tss=110)
    records = [record for record in grammar.make(n, 99) if record.truth]
    model = Model.from_callable(
        lambda sequences: grammar.log_odds(list(sequences)), ["promoter"], name="grammar"
    )
    for name in ("mutagenesis", "occlusion", "kernel_shap", "lime"):
        shown = {} if name == "mutagenesis" else {"units": "bases", "masking": "n"}
        table = summarise(localise(records, explain(model, records, name, "promoter", **shown)))
        _, value, low, high, found, _ = table[table["metric"] == "auprc"].iloc[0]
        print(f"{name}: {value:.3f} [{low:.3f}, {high:.3f}], n = {found}")


if __name__ == "__main__":
    main()

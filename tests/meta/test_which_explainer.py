"""The page that helps to choose names every explainer, and costs are what explainers say."""

import re
from pathlib import Path

import pytest

import basewise as bw
from basewise.explainers import EXPLAINERS

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "which-explainer.md").read_text("utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and " | `" in line]
COSTS = {name: cost for _, names, _, cost, _ in ROWS for name in re.findall(r"`(\w+)`", names)}


def test_every_explainer_has_a_row():
    assert set(EXPLAINERS.names()) <= set(COSTS)


@pytest.mark.parametrize("name", sorted(set(COSTS) - {"exact_shapley"}))
def test_the_cost_in_the_table_is_what_the_explainer_says(name):
    settings = {"motif": "TATAAA"} if name == "marginalisation" else {}
    model = bw.Model.from_callable(lambda seqs: [0.0] * len(seqs), labels=["a"])
    said = EXPLAINERS.build({"type": name} | settings).cost(model, bw.Record("r", "ACGTT" * 60))
    number = re.findall(r"\d[\d,]*\d|\d", COSTS[name])[0]
    assert int(number.replace(",", "")) == said.number
    assert ("most" in COSTS[name]) == (not said.exact)

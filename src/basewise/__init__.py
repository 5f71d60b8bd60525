"""Train models of DNA, explain them base by base, and find out whether to believe it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basewise.checks import audit, metrics_possible
    from basewise.data import read
    from basewise.drawing import draw
    from basewise.evaluate.agreement import agree
    from basewise.evaluate.ranking import Ranking, rank_tokens
    from basewise.explainers import explain
    from basewise.models.model import Model
    from basewise.study.results import Run, open_run
    from basewise.tokenize.pruning import prune_bpe
    from basewise.types import Attribution, Interval, Record, Span, Target, Tokens

__version__ = "0.1.0"

# The public surface: name -> module, imported on first use so that `import basewise` is quick.
_PUBLIC = {
    "Attribution": "basewise.types",
    "Interval": "basewise.types",
    "Model": "basewise.models.model",
    "Ranking": "basewise.evaluate.ranking",
    "Record": "basewise.types",
    "Run": "basewise.study.results",
    "Span": "basewise.types",
    "Target": "basewise.types",
    "Tokens": "basewise.types",
    "agree": "basewise.evaluate.agreement",
    "audit": "basewise.checks",
    "draw": "basewise.drawing",
    "explain": "basewise.explainers",
    "metrics_possible": "basewise.checks",
    "open_run": "basewise.study.results",
    "prune_bpe": "basewise.tokenize.pruning",
    "rank_tokens": "basewise.evaluate.ranking",
    "read": "basewise.data",
    "read_attributions": "basewise.store",
}

__all__ = [
    "Attribution",
    "Interval",
    "Model",
    "Ranking",
    "Record",
    "Run",
    "Span",
    "Target",
    "Tokens",
    "agree",
    "audit",
    "draw",
    "explain",
    "metrics_possible",
    "open_run",
    "prune_bpe",
    "rank_tokens",
    "read",
    "read_attributions",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'basewise' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, "__version__"])

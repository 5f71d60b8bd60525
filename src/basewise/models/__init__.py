"""Networks and the one class around them. Adding an architecture: write its file, add its line."""

from __future__ import annotations

from basewise.registry import Registry

__all__ = ["NETWORKS"]

NETWORKS = Registry(
    "network",
    {
        "basewise-base-cnn": "basewise.models.base_cnn:BaseCnn",
        "basewise-cnn": "basewise.models.cnn:CnnForSequenceClassification",
        "basewise-cnn-lstm": "basewise.models.cnn_lstm:CnnLstmForSequenceClassification",
        "basewise-dnabert2": "basewise.models.dnabert2:Dnabert2",
        "basewise-gena": "basewise.models.gena:Gena",
        "basewise-graph": "basewise.models.graph:Graph",
        "basewise-hyenadna": "basewise.models.hyenadna:HyenaDna",
        "basewise-nucleotide-transformer": (
            "basewise.models.nucleotide_transformer:NucleotideTransformer"
        ),
        "basewise-recurrent": "basewise.models.recurrent:Recurrent",
        "basewise-two-scale": "basewise.models.two_scale:TwoScale",
        "basewise-unet": "basewise.models.unet:UNet",
    },
)

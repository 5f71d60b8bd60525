"""Motifs: where they are, whether chance gives as many, whether a model relies on them."""

"""Motifs in data and models: whether chance gives as many, whether a model relies on them."""

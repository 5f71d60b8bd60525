"""Motifs: where they are, whether there are more than chance gives, whether a model relies on them."""

"""Motifs: what they are, libraries and panels of them, and their hits on sequences."""

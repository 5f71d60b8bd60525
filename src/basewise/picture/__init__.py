"""Pictures of sequences from plain values, and how numbers are written; knows no other layer."""

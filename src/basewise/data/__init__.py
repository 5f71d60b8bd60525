"""Data in: readers, splits, synthetic sequences, published data sets."""

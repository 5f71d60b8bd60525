"""Letters, k-mers and shuffles, vectorised over rows."""

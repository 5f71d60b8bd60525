"""Training models, measuring them, and the baseline that stands beside them."""

"""Figures of the kit beside its peers, taken side by side in one run: ``python -m benchmarks``."""

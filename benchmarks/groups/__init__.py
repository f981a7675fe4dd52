"""One module for each kind of figure; each has ``measure(bench)``, which returns tables."""

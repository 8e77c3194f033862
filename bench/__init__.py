"""Holdfast beside its peers: the same workload, the same machine, one run."""

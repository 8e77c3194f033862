"""Deterministic simulation: the real loops of `app/` in a world of chance. One seed is one run, bit for bit."""

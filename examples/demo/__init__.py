"""Thirty orders for glasses, and everything that runs them killed again and again: `python -m examples.demo`."""

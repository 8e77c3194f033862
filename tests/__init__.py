"""Holdfast's tests: stories told to real servers and pure functions."""

"""Histories as they were recorded, and the code that they are of: see README.md."""

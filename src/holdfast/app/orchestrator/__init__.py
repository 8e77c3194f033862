"""The owner of shards: turns commands into events.

Read it in this order: intake, load, turn, commit, publish; `pipeline.py` joins them.
"""

"""The workflows of the golden histories, and what happens to each while it is recorded.

Law of this folder: what a recorded history is of is never changed. A feature that changes has a story more.
"""

"""The deployables, thin: each starts one service of holdfast."""

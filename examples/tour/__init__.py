"""A tour of the features, one small file each."""

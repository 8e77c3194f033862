"""Authors whose code goes wrong in every way, beside others whose code is in order."""

"""Everything the engine knows, as pure functions over frozen values: no clock, loop, I/O or logging in here."""

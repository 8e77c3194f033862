"""The worker: takes tasks, executes steps and effects, publishes results; keeps nothing."""

"""The loops over ports, in a room for each subject. They do not know which profile they run in.

- `orchestrator/` turns commands into events: intake, load, turn, commit, publish, joined by `pipeline.py`.
- `worker/` executes steps: takes tasks, executes them, publishes results.
- `effects/` carries an effect from its plan to a verdict: attempt, lease, resolve.
- `executor/` is the one place where an author's function is called: threads, child processes, watchdogs.
- `client/` starts runs, waits for them and asks about them.

What several rooms share stands beside them.
"""

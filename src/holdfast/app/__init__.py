"""The loops over ports: orchestrator, worker, sweeper, client. They do not know which profile they run in."""

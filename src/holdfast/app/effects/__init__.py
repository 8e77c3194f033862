"""Effects under the ledger: one attempt, the leases of what is held, verdicts by a person."""

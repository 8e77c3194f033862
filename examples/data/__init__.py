"""Orders as opticians send them: `notes.jsonl` holds one order a line."""

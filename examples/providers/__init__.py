"""The outside world of the examples: a payment provider and a chat server, each in a process of its own."""

"""What authors and adapters test with."""

"""What authors write with: decorators, the registry, the deterministic loop, agents."""

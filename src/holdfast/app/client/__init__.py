"""What a client does over the ports: start, wait, ask."""

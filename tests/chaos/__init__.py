"""Real processes, real servers, killed, stopped, flushed and wiped: nothing is lost and nothing happens twice."""

"""The command line: `holdfast`.

Laws of this package:
- `--help` loads no client of Kafka, PostgreSQL or Redis: what a command needs is imported when it runs.
- A mistake is one line on stderr that says whose it is and what to do; a traceback comes only with --debug.
- Exit codes: 0 done; 1 the run ended otherwise than completed, or is parked; 2 usage, settings or the author's file;
  3 a named thing does not exist; 4 infrastructure out of reach, not installed, or taken by another process;
  70 a bug of ours; 130 Ctrl-C.
"""

from holdfast.cli.commands import main

__all__ = ["main"]

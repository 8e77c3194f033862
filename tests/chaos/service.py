"""A service as the command line starts it, which leaves its traceback when it ends by a bug, and no debug messages.

python -m tests.chaos.service worker APP
"""

import logging
import sys

from holdfast.cli.commands import main

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
main([*sys.argv[1:], "--debug"], prog_name="holdfast")

"""The orchestrator: `python -m services.orchestrator APP`, which is `holdfast orchestrator APP`."""

import sys

from holdfast.cli import main

if __name__ == "__main__":
    main(["orchestrator", *sys.argv[1:]], prog_name="holdfast")

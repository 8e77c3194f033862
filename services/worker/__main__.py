"""The worker: `python -m services.worker APP`, which is `holdfast worker APP`."""

import sys

from holdfast.cli import main

if __name__ == "__main__":
    main(["worker", *sys.argv[1:]], prog_name="holdfast")

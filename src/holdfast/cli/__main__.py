"""`python -m holdfast.cli`, the same as `holdfast`."""

from holdfast.cli.commands import main

main(prog_name="holdfast")

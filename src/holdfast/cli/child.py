"""`python -m holdfast.cli.child APP PARENT FILE`: executes one attempt for the worker PARENT, and is gone.

Laws of this file (the other end is adapters/child.py):
- It ends with its parent. Whoever stops both means the parent, who decides.
- It ends at once when it has answered: threads of the author's that go on are not waited for.
"""

import os
import signal
import sys

from holdfast.adapters.child import LENGTH, READY
from holdfast.adapters.linux import be_first_to_go, die_with
from holdfast.cli.apps import load_app
from holdfast.cli.failures import CommandFailed, line


def main(app: str, parent: int, answers: int) -> None:
    """Read the request, execute it, answer."""
    die_with(parent)
    be_first_to_go()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)  # a handler is not passed on to programs that it starts
    request = sys.stdin.buffer.read()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    try:
        load_app(app)
    except CommandFailed as failed:
        sys.exit(line(failed))
    import uvloop

    from holdfast.app.executor.child_process import execute

    os.write(answers, READY)
    answer = uvloop.run(execute(request))
    with os.fdopen(answers, "wb") as pipe:
        pipe.write(len(answer).to_bytes(LENGTH, "big") + answer)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

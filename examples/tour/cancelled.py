"""A plain `def` is told when its time is over: it stops between two pieces of work, and the next attempt begins anew.

holdfast dev examples/tour/cancelled.py
holdfast start print_catalogue --id catalogue-7 --input 3 --wait
"""

import time

from holdfast import Retry, cancelled, step, workflow

stopped_at: list[int] = []
slow = [True]


@step(timeout=0.3, retry=Retry(attempts=3, initial=0.1))
def print_pages(pages: int) -> int:
    if slow and slow.pop():  # the printer warms up, the first time
        for page in range(1_000_000):
            if cancelled():
                stopped_at.append(page)
                return page  # nobody waits for it any more
            time.sleep(0.01)
    return pages


@workflow
async def print_catalogue(pages: int) -> str:
    return f"{await print_pages(pages)} pages"

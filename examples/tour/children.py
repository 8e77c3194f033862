"""Child runs: one order ships its parcels at once, each a run of its own; the invoice is sent by a run that stays.

holdfast dev examples/tour/children.py
holdfast start ship_order --id order-7 --input '["tea", "lamp", "glass"]' --wait
holdfast show order-7
"""

import asyncio

from holdfast import ChildFailed, Retry, detached, step, workflow


@step(retry=Retry(attempts=1))
async def carry(item: str) -> str:
    if item == "glass":
        raise ValueError("it broke")
    return f"{item} delivered"


@workflow
async def parcel(item: str) -> str:
    return await carry(item)


@workflow
async def invoice(items: str) -> str:
    return await carry(f"invoice for {items}")


@workflow
async def ship_order(items: list[str]) -> list[str]:
    results = await asyncio.gather(*(parcel(item) for item in items), return_exceptions=True)
    await detached(invoice, ", ".join(items))  # goes on when this run has ended
    return [f"lost: {one.failure.message}" if isinstance(one, ChildFailed) else str(one) for one in results]

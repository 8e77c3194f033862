"""What a step can say: wait so long, never again, or let a person look at it.

holdfast dev examples/tour/retries.py
holdfast start settle_invoice --id invoice-7 --input '{"account": "DE-12", "cents": 4200}'
holdfast show invoice-7      # parked: the bank is closed; open it with: touch bank-is-open
holdfast resume invoice-7    # tries again what was parked
"""

from pathlib import Path

from holdfast import Fatal, Retry, RetryAfter, StepError, step, workflow

BANK = Path("bank-is-open")
asked: list[str] = []


@step
async def look_up(account: str) -> str:
    if not account.startswith("DE-"):
        raise Fatal(f"there is no account {account}")  # no further attempt would help
    asked.append(account)
    if len(asked) == 1:
        raise RetryAfter(0.5)  # the register is busy, and says for how long
    return f"owner of {account}"


@step(retry=Retry(attempts=2, initial=0.1, on_exhausted="park"))
def pay_out(account: str, cents: int) -> str:
    if not BANK.exists():
        raise ConnectionError("the bank is closed")
    return f"{cents} cents to {account}"


@workflow
async def settle_invoice(account: str, cents: int) -> str:
    try:
        return await pay_out(await look_up(account), cents)
    except StepError as error:
        return f"not settled: {error.failure.message}"

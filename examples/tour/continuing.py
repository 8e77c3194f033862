"""Continue-as-new: an account that lives for years, with a history that stays short.

holdfast dev examples/tour/continuing.py
holdfast start account --id account-7 --input 0
holdfast signal account-7 deposit --input 40
holdfast signal account-7 deposit --input 0
holdfast show account-7
"""

from holdfast import continue_as_new, signal, step, workflow


@step
async def book_deposit(amount: int) -> int:
    return amount


@workflow(continue_after=8)  # events: 5,000 if nothing is said
async def account(balance: int) -> int:
    while not workflow.info().should_continue:
        amount = await signal("deposit", int)
        if amount == 0:
            return balance  # closed
        balance += await book_deposit(amount)
    return continue_as_new(balance)  # deposits that nobody has taken yet go along

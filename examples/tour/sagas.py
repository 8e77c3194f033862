"""A saga: what was booked is given back, the last first, when a later booking fails or the trip is cancelled.

holdfast dev examples/tour/sagas.py
holdfast start book_trip --id trip-7 --input '"Oslo"' --wait
holdfast start book_trip --id trip-8 --input '"Atlantis"' --wait
"""

from holdfast import Fatal, StepError, compensations, step, workflow

given_back: list[str] = []


@step
async def reserve_part(what: str, city: str) -> str:
    if (what, city) == ("hotel", "Atlantis"):
        raise Fatal(f"there is no {what} in {city}")
    return f"{what} in {city}"


@step
async def give_back(booking: str) -> None:
    given_back.append(booking)


@workflow
async def book_trip(city: str) -> str:
    try:
        async with compensations() as undo:
            for what in ("flight", "car", "hotel"):
                booking = await reserve_part(what, city)
                undo.add(give_back, booking)
    except StepError as error:
        return f"no trip: {error.failure.message}"
    return f"trip to {city}"

"""What both kinds of database say of an effect's row."""

from typing import Any

from holdfast.ports.databases import RequestDiffers, TransactionEnded

LAW = "an effect's transaction is Holdfast's to end: leave out commit and rollback, and return or raise instead"


def ended() -> TransactionEnded:
    return TransactionEnded(f"the effect has ended its transaction by itself, and nothing is recorded; {LAW}")


def not_installed(name: str, where: str) -> str:
    return f"{where} has no table holdfast_effects: run holdfast ledger install {name}"


def recorded(row: tuple[Any, ...], request_hash: bytes, where: str, effect_id: str) -> bytes:
    """Read the result of an earlier attempt.

    Raises:
        RequestDiffers: it was of another request.
    """
    known, result = bytes(row[0]), bytes(row[1])
    if known != request_hash:
        raise RequestDiffers(
            f"{where} holds effect {effect_id} of another request (hash {known.hex()[:16]}, now "
            f"{request_hash.hex()[:16]}): two installations of one namespace write there, or a row was made by hand; "
            "it is not done again"
        )
    return result

"""What others said, as a terminal can show it."""


def plain(text: str) -> str:
    """Write a text so that a terminal shows it and does nothing else: escapes stand for what cannot be printed."""
    if text.isprintable():
        return text
    letters = (one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)
    return "".join(letters)

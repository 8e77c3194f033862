"""The extras of the package, and the error of whoever needs one that is not installed.

Laws of this file:
- It loads nothing of ours and no third party: it is asked where everything else may be missing.
- The table says what pyproject.toml says (tests/architecture/test_extras.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

EXTRAS = {
    "aiohttp": "cluster",
    "aiokafka": "cluster",
    "avro": "testing",
    "httpx": "httpx",
    "httpx2": "http",
    "hypothesis": "testing",
    "openai": "openai",
    "psycopg": "cluster",
    "pytest": "testing",
    "redis": "cluster",
    "stripe": "stripe",
}
"""The extra that installs a package, by the name that the package is imported by."""


class MissingExtra(ImportError):
    """Something was asked for that needs a package of an extra; the text says which."""

    def __init__(self, asked: str, package: str, extra: str) -> None:
        super().__init__(
            f"{asked} needs the package {package}, which is not installed: pip install 'holdfast[{extra}]'",
            name=package,
        )


def require(package: str, asked: str) -> None:
    """Refuse what needs a package that is not installed, before anything is begun; the package is not loaded.

    Raises:
        MissingExtra: names the setting that `asked` for it.
    """
    if find_spec(package) is None:
        raise MissingExtra(asked, package, EXTRAS[package])


@contextmanager
def needed_by(asked: str, extra: str) -> Iterator[None]:
    """Import in this block what `asked`, a module of ours or a setting, cannot be without, and what `extra` installs.

    Raises:
        MissingExtra: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise MissingExtra(asked, error.name, extra) from None

"""Settings: option over environment over holdfast.toml over default, each with its origin.

Laws of this file:
- A mistake is told in one sentence that names the key, where it came from, its value and what is allowed.
- A key that nobody knows is a mistake, with the nearest one that somebody knows.
- No secret is ever printed.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

FILE = "holdfast.toml"
PREFIX = "HOLDFAST_"
DEFAULT = "default"
ENVIRONMENT = "environment"
OPTION = "option"
EMBEDDED = "embedded"
MASK = "***"

# What the adapter of Kafka can do something with and a text can say; `replication` is for the topics that are created.
KAFKA_OPTIONS = (
    "replication",
    "request_timeout_ms",
    "sasl_kerberos_domain_name",
    "sasl_kerberos_service_name",
    "sasl_mechanism",
    "sasl_plain_password",
    "sasl_plain_username",
    "security_protocol",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
)
# Of deploy/, compose.yaml and the tests: named like settings, and none.
_FOREIGN = re.compile(r"HOLDFAST_(LOCAL|APP|IMAGE|TEST_\w*)")
_SECRET_NAME = re.compile(r"password|secret|token", re.IGNORECASE)
_SECRET_IN_URL = re.compile(r"(://[^:@/?]*:).*(@)")
_SECRET_IN_QUERY = re.compile(r"([?&][^=&]*(?:password|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)
_KAFKA = "kafka_"
_DATABASES = "HOLDFAST_DATABASES_"
_DATABASE_NAME = re.compile(r"[a-z][a-z0-9_]*")


class SettingsError(Exception):
    """A setting that is not allowed: names key, origin, value and what is allowed."""


class Settings(msgspec.Struct, frozen=True):
    """What an installation is made of; `origins` tells for each key where its value came from."""

    namespace: str = "holdfast"
    store: str = "sqlite:///.holdfast/holdfast.db"
    log: str = EMBEDDED
    keys: str = "memory"
    shards: int = 64
    instance: str | None = None
    databases: dict[str, str] = {}
    kafka: dict[str, str] = {}
    schema_registry: str | None = None
    health: str | None = None
    turn_limit: float = 2.0
    state: str | None = None
    origins: dict[str, str] = {}

    @property
    def profile(self) -> Literal["embedded", "cluster"]:
        """Tell the profile that store and log make together.

        Raises:
            SettingsError: one is of the embedded profile and the other of the cluster.
        """
        in_file = self.store.startswith("sqlite:")
        if (self.log == EMBEDDED) is in_file:
            return "embedded" if in_file else "cluster"
        missing = "HOLDFAST_LOG=kafka://host:port" if self.log == EMBEDDED else "HOLDFAST_STORE=postgresql://…"
        raise SettingsError(
            f"HOLDFAST_STORE ({self.origin('store')}) is {masked('store', self.store)!r} and HOLDFAST_LOG "
            f"({self.origin('log')}) is {masked('log', self.log)!r}, which do not go together: set {missing}, "
            "or both for one file (sqlite:///… and embedded)"
        )

    def origin(self, key: str) -> str:
        """Tell where a key's value came from."""
        return self.origins.get(key, DEFAULT)

    def printed(self) -> list[tuple[str, str, str]]:
        """List (key, value, origin) for a person, secrets masked; what is not set is empty."""
        plain: dict[str, object] = {name: getattr(self, name) for name in (*_ALLOWED, "databases", "kafka")}
        rows: dict[str, object] = {name: plain[name] for name in _ALLOWED}
        rows |= {f"{_KAFKA}{name}": value for name, value in self.kafka.items()}
        lines = [
            (PREFIX + name.upper(), masked(name, "" if value is None else str(value)), self.origin(name))
            for name, value in rows.items()
        ]
        databases = [
            (f"databases.{name}", masked(name, url), self.origin(f"databases.{name}"))
            for name, url in self.databases.items()
        ]
        return lines + databases


class _Given(NamedTuple):
    """A value as somebody wrote it; `spelled` is the key as it stands there."""

    spelled: str
    value: str
    origin: str


def load(
    options: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Read the settings of a process started in `directory`.

    Raises:
        SettingsError: one of them is not allowed, or nobody knows it.
    """
    found: dict[str, _Given] = {}
    for given in _sources({} if options is None else options, os.environ if environ is None else environ, directory):
        found[_known(given)] = given
    values: dict[str, object] = {}
    kafka: dict[str, str] = {}
    databases: dict[str, str] = {}
    for key, given in found.items():
        if key.startswith("databases."):
            databases[key.removeprefix("databases.")] = _checked(key, given, _DATABASE)
        elif key.startswith(_KAFKA):
            kafka[key.removeprefix(_KAFKA)] = _checked(key, given, _KAFKA_ALLOWED.get(key, _ANYTHING))
        else:
            text = _checked(key, given, _ALLOWED[key])
            values[key] = _NUMBERS.get(key, str)(text)
    origins = {key: given.origin for key, given in found.items()}
    return msgspec.convert({**values, "kafka": kafka, "databases": databases, "origins": origins}, Settings)


def masked(key: str, value: str) -> str:
    """Hide what is secret in a value."""
    if _SECRET_NAME.search(key) and value and "://" not in value:
        return MASK
    return _SECRET_IN_QUERY.sub(rf"\g<1>{MASK}", _SECRET_IN_URL.sub(rf"\g<1>{MASK}\g<2>", value))


def _sources(options: Mapping[str, str], environ: Mapping[str, str], directory: Path | None) -> Iterator[_Given]:
    """Give all that is written anywhere, the weakest first."""
    yield from _in_file((Path.cwd() if directory is None else directory) / FILE)
    for name in sorted(environ):
        # An empty variable is what is left of one that was meant not to be set (compose files pass them on so).
        if name.startswith(PREFIX) and environ[name] and not _FOREIGN.fullmatch(name):
            yield _Given(name, environ[name], ENVIRONMENT)
    for name, value in options.items():
        yield _Given(f"--{name.replace('_', '-')}", value, OPTION)


def _in_file(path: Path) -> Iterator[_Given]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}") from error
    for table, entries in tables.items():
        if table not in {"holdfast", "databases"} or not isinstance(entries, dict):
            raise SettingsError(f"{FILE} has {table!r} at its top, and there may only be [holdfast] and [databases]")
        for name, value in entries.items():
            spelled = f"databases.{name}" if table == "databases" else name
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise SettingsError(f"{spelled} ({FILE}) is {value!r}: a text or a whole number is allowed")
            yield _Given(spelled, str(value), FILE)


def _known(given: _Given) -> str:
    """Name the key that is meant: HOLDFAST_STORE, --store and store are one."""
    if given.origin == FILE and given.spelled.startswith("databases."):
        return _database(given, given.spelled.removeprefix("databases."))
    if given.origin == ENVIRONMENT and given.spelled.startswith(_DATABASES):
        return _database(given, given.spelled.removeprefix(_DATABASES).lower())
    bare = given.spelled.removeprefix(PREFIX).removeprefix("--").replace("-", "_")
    if given.origin == ENVIRONMENT or bare != given.spelled:
        bare = bare.lower()
    names = [*_ALLOWED, *(f"{_KAFKA}{name}" for name in KAFKA_OPTIONS)]
    if bare in names:
        return bare
    near = difflib.get_close_matches(bare.lower(), names, 1, cutoff=0.0)[0]
    meant = f"--{near.replace('_', '-')}" if given.origin == OPTION else PREFIX + near.upper()
    if given.origin == FILE and not given.spelled.startswith(PREFIX):
        meant = near
    raise SettingsError(f"{given.spelled} ({given.origin}) is no setting of Holdfast; the nearest is {meant}")


def _database(given: _Given, name: str) -> str:
    """Name the key of a database: HOLDFAST_DATABASES_SHOP and [databases] shop are one."""
    if _DATABASE_NAME.fullmatch(name):
        return f"databases.{name}"
    raise SettingsError(
        f"{given.spelled} ({given.origin}) names no database: small letters, digits and _ are allowed, as in "
        f"HOLDFAST_DATABASES_SHOP, or shop in [databases] of {FILE}"
    )


class _Allowed(NamedTuple):
    """What a value may be: the test, and the words for it."""

    fits: Callable[[str], bool]
    words: str


def _checked(key: str, given: _Given, allowed: _Allowed) -> str:
    if allowed.fits(given.value):
        return given.value
    raise SettingsError(f"{given.spelled} ({given.origin}) is {masked(key, given.value)!r}: {allowed.words} is allowed")


def _like(pattern: str, words: str) -> _Allowed:
    compiled = re.compile(pattern)
    return _Allowed(lambda value: compiled.fullmatch(value) is not None, words)


def _is_address(value: str) -> bool:
    host, colon, port = value.rpartition(":")
    return bool(colon) and bool(re.fullmatch(r"[\w.-]*|\[[0-9a-fA-F:.]+\]", host)) and _is_port(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 1 << 16


def _is_log(value: str) -> bool:
    scheme, separator, hosts = value.partition("://")
    if not separator:
        return value == EMBEDDED
    addresses = hosts.split(",")
    return scheme == "kafka" and all(_is_address(one) and not one.startswith(":") for one in addresses)


def _is_turn_limit(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", value)) and 0.1 <= float(value) <= 60  # noqa: PLR2004 - as it says


_STORE = r"sqlite:///.+|postgres(ql)?://.+"
_DATABASE = _like(_STORE, "postgresql://… or sqlite:///path")
_ANYTHING = _like(r".+", "some text")
_NUMBER = _like(r"[1-9][0-9]{0,8}", "a whole number from 1 on")
_ALLOWED: dict[str, _Allowed] = {
    # It is the name of a schema in PostgreSQL, which takes 63 bytes and keeps pg_ for itself, and the prefix of topics.
    "namespace": _like(r"(?!pg_)[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "1 to 63 letters, digits, - and _, not pg_… or -…,"),
    "store": _like(_STORE, "sqlite:///path or postgresql://…"),
    "log": _Allowed(_is_log, "embedded or kafka://host:port[,host:port]"),
    "keys": _like(r"memory|rediss?://.+", "memory or redis://…"),
    "shards": _NUMBER,
    "instance": _like(r"[A-Za-z0-9._-]{1,200}", "a name of letters, digits, '.', - and _"),
    "schema_registry": _like(r"https?://.+", "http://… or https://…"),
    "health": _Allowed(_is_address, "host:port"),
    "turn_limit": _Allowed(_is_turn_limit, "a number of seconds from 0.1 to 60"),
    "state": _ANYTHING,
}
_NUMBERS: dict[str, Callable[[str], int | float]] = {"shards": int, "turn_limit": float}
_KAFKA_ALLOWED = {
    "kafka_replication": _NUMBER,
    "kafka_request_timeout_ms": _NUMBER,
    "kafka_security_protocol": _like(
        "PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL", "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
    ),
}

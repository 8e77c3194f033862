"""The composition roots: where ports meet their adapters, by the settings. One module a profile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from holdfast.app.log_identity import remember
from holdfast.extras import require
from holdfast.ports.installation import NotInstalled
from holdfast.ports.topics import Topics
from holdfast.profiles.profile import Profile, release, topics_of
from holdfast.settings import Settings

__all__ = ["Profile", "install", "open_profile"]


def assemble(settings: Settings) -> Profile:
    """Choose the adapters that the settings name; nothing is opened yet.

    Raises:
        MissingExtra: a setting needs a package that is not installed.
    """
    if settings.profile == "embedded":
        from holdfast.profiles.embedded import assemble as embedded

        return embedded(settings)
    require("aiokafka", "HOLDFAST_LOG=kafka://…")
    require("psycopg", "HOLDFAST_STORE=postgresql://…")
    if settings.keys != "memory":
        require("redis", "HOLDFAST_KEYS=redis://…")
    from holdfast.profiles.cluster import assemble as cluster

    return cluster(settings)


@asynccontextmanager
async def open_profile(settings: Settings, *, create: bool = False) -> AsyncIterator[Profile]:
    """Open store, log and keys for as long as the block runs.

    With `create`, an embedded store that does not exist yet, or was cut off in the making, is installed first.

    Raises:
        NotInstalled, NewerSchema, store.Unavailable, log.Unreachable: say what to do.
    """
    profile = assemble(settings)
    create = create and profile.embedded
    try:
        await profile.open()
    except NotInstalled:
        if not create:
            raise
        await install(settings)
        await profile.open()
    try:
        if create:
            await profile.log.install(topics_of(settings, profile.shards))
        yield profile
    finally:
        await profile.close()


async def install(settings: Settings, *, dry_run: bool = False) -> list[str]:
    """Create or migrate schema and topics; returns what was (or would be) done. Safe to repeat."""
    profile = assemble(settings)
    if dry_run:
        return await _missing(profile, settings)
    done = await profile.store.install(settings.shards)
    await profile.store.open()
    try:
        shards = int((await profile.store.meta())["shards"])
        await profile.schemas.register(release())
        await profile.log.open()
        try:
            made = await profile.log.install(topics_of(settings, shards))
            await remember(profile.store, profile.log, Topics(settings.namespace))
            return [*done, *made]
        finally:
            await profile.log.close()
    finally:
        await profile.store.close()


async def _missing(profile: Profile, settings: Settings) -> list[str]:
    todo = await profile.store.pending_migrations()
    if todo and profile.embedded:
        return [*todo, *(f"topic {topic.name}" for topic in topics_of(settings, settings.shards))]
    await profile.log.open()
    try:
        return [*todo, *await profile.log.missing(topics_of(settings, settings.shards))]
    finally:
        await profile.log.close()
        await profile.store.close()

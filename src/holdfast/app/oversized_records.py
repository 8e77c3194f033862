"""Records that the log does not take for their size: put aside whole.

Laws of this file:
- A record that its topic does not take is a dead letter with all its bytes and headers.
- What even the dead letters' topic does not take is kept in the store, by a name that the dead letter bears.
- Each step is smaller than the one before, so that publishing comes to an end.
"""

import logging

import msgspec

from holdfast.app.backoff import backoff
from holdfast.app.records import ERROR_LIMIT, OURS, header
from holdfast.core.payload import name_of
from holdfast.ports.blobs import Blobs
from holdfast.ports.log import Headers, Outgoing, Record
from holdfast.ports.topics import Topics
from holdfast.ports.unavailable import Unavailable

log = logging.getLogger(__name__)

BLOB = "holdfast_blob"
"""Header: the value is the blob of this name in the store."""
HEADERS_BLOB = "holdfast_headers_blob"
"""Header: key and headers are, in JSON with bytes in base64, the blob of this name in the store."""


class _Addressing(msgspec.Struct):
    key: bytes
    headers: Headers


async def put_aside(record: Outgoing, text: str, topics: Topics, store: Blobs) -> Outgoing:
    """Make a smaller record in the place of one that is over its topic's limit."""
    log.error("a record of topic %s with key %r is over the log's size limit: %s", record.topic, record.key[:255], text)
    if record.topic != topics.dlq:
        return Outgoing(topics.dlq, record.key, record.value, (*record.headers, *_marks(record, text)))
    if record.value:
        return Outgoing(topics.dlq, record.key, b"", (*record.headers, (BLOB, await _keep(store, record.value))))
    addressing = msgspec.json.encode(_Addressing(record.key, record.headers))
    kept = tuple(one for one in record.headers if one[0].startswith(OURS) and len(one[1]) <= ERROR_LIMIT * 4)
    return Outgoing(topics.dlq, b"", b"", (*kept, (HEADERS_BLOB, await _keep(store, addressing))))


def _marks(record: Outgoing, text: str) -> Headers:
    """Say what is the matter, and where the record was to stand; it stands nowhere."""
    return (
        ("holdfast_error", text[:ERROR_LIMIT].encode(errors="backslashreplace")),
        ("holdfast_error_class", b"too_large"),
        ("holdfast_source_topic", record.topic.encode()),
        ("holdfast_source_partition", b"%d" % (-1 if record.partition is None else record.partition)),
        ("holdfast_source_offset", b"-1"),
    )


class BlobMissing(Exception):
    """What was left out of a record for its size is not in the store any more."""


async def restored(record: Record, store: Blobs) -> Record:
    """Give a record that was put aside its key, value and headers again, as far as they were left out.

    Raises:
        BlobMissing: the store does not have them any more.
    """
    addressing = header(record, HEADERS_BLOB)
    if addressing is not None:
        kept = msgspec.json.decode(await _fetch(store, addressing), type=_Addressing)
        record = msgspec.structs.replace(record, key=kept.key, headers=kept.headers)
    value = header(record, BLOB)
    return record if value is None else msgspec.structs.replace(record, value=await _fetch(store, value))


async def _fetch(store: Blobs, name: bytes) -> bytes:
    wanted = name.decode(errors="replace")
    found = await store.blobs([wanted])
    if wanted not in found:
        raise BlobMissing(f"the store has no blob {wanted}, where what was too large for a record was kept")
    return found[wanted]


async def _keep(store: Blobs, data: bytes) -> bytes:
    name = name_of(data)
    async for _ in backoff():
        try:
            await store.put_blobs({name: data})
        except Unavailable as away:
            log.warning("cannot store a record over the log's size limit: %s; retrying", away)
        else:
            break
    return name.encode()

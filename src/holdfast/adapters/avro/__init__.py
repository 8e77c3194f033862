"""The codec of the wire: Avro records from `schemas/`, and JSON where the contract says so."""

from holdfast.adapters.avro.codec import AvroCodec

__all__ = ["AvroCodec"]

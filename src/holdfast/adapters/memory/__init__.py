"""Keys of the embedded profile: in this very process."""

from holdfast.adapters.memory.keys import MemoryKeys

__all__ = ["MemoryKeys"]

"""The store: all that one adapter offers of the truth.

An adapter fulfils the union. What uses it asks for the one Protocol that it needs: `Journal`, `Timers`, `Queries`,
`Blobs`, `Installation`.
"""

from typing import Protocol

from holdfast.ports.blobs import Blobs
from holdfast.ports.installation import Installation
from holdfast.ports.journal import Journal
from holdfast.ports.queries import Queries
from holdfast.ports.timers import Timers


class Store(Installation, Journal, Timers, Queries, Blobs, Protocol):
    """The truth. Every method is one transaction."""

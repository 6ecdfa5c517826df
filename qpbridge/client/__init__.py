"""The Python client of a server: ``Client`` blocks, ``AsyncClient`` awaits. Loads no heavy library."""

from qpbridge.client.access import Access, Tls
from qpbridge.client.awaiting import AsyncClient
from qpbridge.client.blocking import Client
from qpbridge.client.region import AsyncRegionStream, RegionStream
from qpbridge.client.starting import started_server

__all__ = ["Access", "AsyncClient", "AsyncRegionStream", "Client", "RegionStream", "Tls", "started_server"]

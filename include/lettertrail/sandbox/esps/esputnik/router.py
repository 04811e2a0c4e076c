"""The kind of router that the modules of resources fill."""

from __future__ import annotations

from lettertrail.sandbox.esps.esputnik.store import EsputnikStore
from lettertrail.sandbox.esps.shell import Router

EsputnikRouter = Router[EsputnikStore]

"""The ESPs as local servers: one module or package per ESP, each an ASGI app with state of its own."""

"""The e-mail services (ESPs) LetterTrail talks to: one file each, found by listing this package.

To add one, add `<name>.py` with a single subclass of `lettertrail.esps.port.Esp`. Nothing else needs an
edit: DAGs, contract tests and pushes ask `names()`. A helper module of an adapter starts with an underscore.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import Esp

_NOT_ADAPTERS = frozenset({"capabilities", "port"})


def names() -> tuple[str, ...]:
    """The adapters there are, sorted. Lists files and imports none of them, so a DAG file may call it."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if name not in _NOT_ADAPTERS and not name.startswith("_")))


def adapter_name(conn_id: str) -> str:
    """The adapter behind a connection id: `mailchimp__b2b` is a second account of `mailchimp`."""
    return conn_id.partition("__")[0]


def load(name: str) -> type[Esp]:
    """The adapter class in `esps/<name>.py`.

    Raises:
        ConfigurationError: there is no such module, or it does not hold exactly one adapter of that name.
    """
    if name not in names():
        raise ConfigurationError(f"there is no ESP adapter {name!r}; there are: {', '.join(names()) or 'none'}")
    module = importlib.import_module(f"{__name__}.{name}")
    adapters = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Esp) and member.__module__ == module.__name__
    ]
    if len(adapters) != 1:
        listed = ", ".join(sorted(adapter.__name__ for adapter in adapters)) or "none"
        raise ConfigurationError(f"esps/{name}.py must hold exactly one subclass of Esp; it holds: {listed}")
    (adapter,) = adapters
    if inspect.isabstract(adapter):
        missing = ", ".join(sorted(adapter.__abstractmethods__))
        raise ConfigurationError(f"esps/{name}.py: {adapter.__name__} does not implement {missing}")
    if getattr(adapter, "name", None) != name:
        raise ConfigurationError(f"esps/{name}.py: {adapter.__name__}.name must be {name!r}")
    return adapter

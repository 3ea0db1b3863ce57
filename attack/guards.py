"""How a control takes a guard out: something else in its place, wherever it was imported. In its own process alone."""

import sys

__all__ = ["replace"]

_PRODUCT = ("agent", "gateway", "mltm")


def replace(owner: object, name: str, after: object) -> None:
    """Replace `owner.name` by `after`, and every import of it by a module of the product."""
    before = getattr(owner, name)
    setattr(owner, name, after)
    for module in [module for key, module in sys.modules.items() if key.partition(".")[0] in _PRODUCT]:
        for key, value in list(vars(module).items()):
            if value is before:
                setattr(module, key, after)

"""The rooms of the house, each imported when it is first named.

math · losses · kernels · weights · peft · vision · nn · ckpts · text · dialog · tools · hub
"""

import importlib
from types import ModuleType

_ROOMS = (
    "ckpts",
    "dialog",
    "hub",
    "kernels",
    "losses",
    "math",
    "nn",
    "peft",
    "text",
    "tools",
    "vision",
    "weights",
)


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"gemma.gm.{name}")
    raise AttributeError(f"gemma.gm has no room {name!r}. It has: {', '.join(_ROOMS)}.")


def __dir__() -> list[str]:
    return list(_ROOMS)

"""The rooms of the house, each imported when it is first named.

math · losses · kernels · weights · peft · vision · nn · ckpts · text · dialog · tools · hub · typing
"""

import importlib
from types import ModuleType

from gemma.gm._elsewhere import missing_name

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
    "typing",
    "vision",
    "weights",
)


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"gemma.gm.{name}")
    raise missing_name("gemma.gm", name, _ROOMS)


def __dir__() -> list[str]:
    return list(_ROOMS)

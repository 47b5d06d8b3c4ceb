"""The rooms of the house, each imported when it is first named.

math · losses · kernels · weights · peft · vision · nn · ckpts · text · dialog · tools · hub · typing
"""

import importlib
import warnings
from types import ModuleType

from gemma._shared_name import other_package
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

if (_found := other_package()) is not None:
    warnings.warn(_found, stacklevel=2)


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"gemma.gm.{name}")
    raise missing_name("gemma.gm", name, _ROOMS)


def __dir__() -> list[str]:
    return list(_ROOMS)

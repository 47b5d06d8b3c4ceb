"""Every instruction set that this processor has, in turn."""

import pytest

from gemma.gm import kernels
from gemma.gm.kernels import _library


@pytest.fixture(params=["portable", "avx2", "avx512-vnni"])
def instruction_set(request):
    """A set that kernels use; skips where this processor has it not."""
    if not kernels.available():
        pytest.skip("the kernels were not built: no C++ compiler")
    _library.limit_instruction_set(request.param)
    try:
        if kernels.instruction_set() != request.param:
            pytest.skip(f"this processor has no {request.param}")
        yield request.param
    finally:
        _library.limit_instruction_set("avx512-vnni")

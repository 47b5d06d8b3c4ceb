import pytest

from gemma.gm import kernels
from gemma.gm.kernels import _library


@pytest.fixture(params=["portable", "avx2", "avx512-vnni"])
def instruction_set(request):
    """Each set that this processor has."""
    if not kernels.available():
        pytest.skip("the kernels were not built: no C++ compiler")
    _library.limit_instruction_set(request.param)
    yield request.param
    _library.limit_instruction_set("avx512-vnni")

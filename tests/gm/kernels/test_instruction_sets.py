"""The inner loops find the same bits with every instruction set that fuses products.

Compiled here and run as programs: for AVX2, for any processor that fuses a product and a
sum, and for 64-bit ARM, where there are a compiler and an emulator (Debian's
`g++-aarch64-linux-gnu` and `qemu-user`).
"""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

import gemma

SOURCE = Path(__file__).parent / "digests.cc"
KERNELS = Path(gemma.__file__).parent / "gm" / "kernels"
ARM_COMPILER, ARM_EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        platform.machine() != "x86_64"
        or "avx2" not in Path("/proc/cpuinfo").read_text(),
        reason="compares with AVX2, which this processor has not",
    ),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]


def digests(folder: Path, target: str, *options: str, compiler="g++", runner=()) -> str:
    """Returns what the program prints that is compiled for a target."""
    program = folder / "digests"
    subprocess.run(
        [compiler, "-std=c++17", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror",
         *options, f"-DGEMMA_TARGET={target}", f"-I{KERNELS}", str(SOURCE),
         "-o", str(program)],
        check=True,
    )  # fmt: skip
    done = subprocess.run(
        [*runner, program], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def avx2(tmp_path_factory) -> str:
    return digests(tmp_path_factory.mktemp("avx2"), "avx2", "-mavx2", "-mfma", "-mf16c")


def test_any_processor_that_fuses_finds_what_avx2_finds(avx2, tmp_path):
    found = digests(tmp_path, "portable", "-mfma")
    assert found.splitlines() == avx2.splitlines()


@pytest.mark.skipif(
    not (shutil.which(ARM_COMPILER) and shutil.which(ARM_EMULATOR)),
    reason="needs Debian's g++-aarch64-linux-gnu and qemu-user",
)
def test_arm_finds_what_avx2_finds(avx2, tmp_path):
    found = digests(
        tmp_path, "portable", "-static", compiler=ARM_COMPILER, runner=[ARM_EMULATOR]
    )
    assert found.splitlines() == avx2.splitlines()

"""Names of the files that one GGUF model is split into."""

import re

# As llama.cpp's gguf-split writes them.
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.ASCII | re.DOTALL)


def part_names(name: str) -> tuple[str, ...]:
    """Returns the names of all parts of the model that a file is a part of.

    Args:
        name: A file's name or path. What is not named as a part stands alone.

    Example:
        >>> part_names("m-00002-of-00002.gguf")
        ('m-00001-of-00002.gguf', 'm-00002-of-00002.gguf')
        >>> part_names("m.gguf")
        ('m.gguf',)
    """
    match = _PART.fullmatch(name)
    if match is None or not 1 <= int(match[2]) <= int(match[3]):
        return (name,)
    count = int(match[3])
    return tuple(
        f"{match[1]}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1)
    )

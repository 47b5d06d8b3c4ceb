"""The models Google has published on Hugging Face, under `google/`."""

import difflib

_ORGANISATION = "google"

_PUBLISHED = {
    "Gemma 1": ("gemma-2b", "gemma-2b-it", "gemma-7b", "gemma-7b-it"),
    "Gemma 1.1": ("gemma-1.1-2b-it", "gemma-1.1-7b-it"),
    "CodeGemma": (
        "codegemma-2b",
        "codegemma-7b",
        "codegemma-7b-it",
        "codegemma-1.1-2b",
        "codegemma-1.1-7b-it",
    ),
    "Gemma 2": (
        "gemma-2-2b",
        "gemma-2-2b-it",
        "gemma-2-2b-jpn-it",
        "gemma-2-9b",
        "gemma-2-9b-it",
        "gemma-2-27b",
        "gemma-2-27b-it",
    ),
    "ShieldGemma": ("shieldgemma-2b", "shieldgemma-9b", "shieldgemma-27b"),
    "Gemma 3": (
        "gemma-3-270m",
        "gemma-3-270m-it",
        "gemma-3-1b-pt",
        "gemma-3-1b-it",
        "gemma-3-4b-pt",
        "gemma-3-4b-it",
        "gemma-3-12b-pt",
        "gemma-3-12b-it",
        "gemma-3-27b-pt",
        "gemma-3-27b-it",
    ),
    # Float weights that were trained to be rounded to four bits.
    "Gemma 3 QAT": tuple(
        f"gemma-3-{size}-it-qat-q4_0-unquantized"
        for size in ("270m", "1b", "4b", "12b", "27b")
    ),
    "ShieldGemma 2": ("shieldgemma-2-4b-it",),
    "DataGemma": ("datagemma-rag-27b-it", "datagemma-rig-27b-it"),
    "TxGemma": (
        "txgemma-2b-predict",
        "txgemma-9b-predict",
        "txgemma-9b-chat",
        "txgemma-27b-predict",
        "txgemma-27b-chat",
    ),
    "MedGemma": (
        "medgemma-4b-pt",
        "medgemma-4b-it",
        "medgemma-27b-it",
        "medgemma-27b-text-it",
    ),
    "TranslateGemma": (
        "translategemma-4b-it",
        "translategemma-12b-it",
        "translategemma-27b-it",
    ),
    "FunctionGemma": ("functiongemma-270m-it",),
}


def published_names() -> tuple[str, ...]:
    """Returns the short names that `resolve` knows, oldest family first.

    Example:
        >>> "gemma-3-1b-it" in published_names()
        True
    """
    return tuple(name for names in _PUBLISHED.values() for name in names)


def published_repository(name: str) -> str:
    """Returns where a short name is published, or "" if it is not one.

    Example:
        >>> published_repository("Gemma-3-1B-it")
        'google/gemma-3-1b-it'
    """
    is_published = name.lower() in published_names()
    return f"{_ORGANISATION}/{name.lower()}" if is_published else ""


def close_names(name: str) -> list[str]:
    """Returns published names that someone who wrote `name` may have meant.

    Example:
        >>> close_names("google/gemma3-1b-it")[0]
        'gemma-3-1b-it'
    """
    short = name.lower().removeprefix(f"{_ORGANISATION}/")
    return difflib.get_close_matches(short, published_names())

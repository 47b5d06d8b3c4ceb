"""Google's Gemma open models in JAX. Start at `gemma.gm`."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    from gemma.gm._elsewhere import missing_name

    raise missing_name("gemma", name)

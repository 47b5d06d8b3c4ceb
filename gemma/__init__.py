"""Google's Gemma open models in JAX. Start at `gemma.gm`."""

__version__ = "0.1.0"

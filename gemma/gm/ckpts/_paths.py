"""The models that Google has published, as names to load."""

import enum


class CheckpointPath(enum.StrEnum):
    """What `load_params` and `gm.hub.resolve` fetch from Hugging Face.

    DeepMind's library has these names too, and its own bucket behind them.
    """

    GEMMA2_2B_PT = "gemma-2-2b"
    GEMMA2_2B_IT = "gemma-2-2b-it"
    GEMMA2_9B_PT = "gemma-2-9b"
    GEMMA2_9B_IT = "gemma-2-9b-it"
    GEMMA2_27B_PT = "gemma-2-27b"
    GEMMA2_27B_IT = "gemma-2-27b-it"
    GEMMA3_270M_PT = "gemma-3-270m"
    GEMMA3_270M_IT = "gemma-3-270m-it"
    GEMMA3_1B_PT = "gemma-3-1b-pt"
    GEMMA3_1B_IT = "gemma-3-1b-it"
    GEMMA3_4B_PT = "gemma-3-4b-pt"
    GEMMA3_4B_IT = "gemma-3-4b-it"
    GEMMA3_12B_PT = "gemma-3-12b-pt"
    GEMMA3_12B_IT = "gemma-3-12b-it"
    GEMMA3_27B_PT = "gemma-3-27b-pt"
    GEMMA3_27B_IT = "gemma-3-27b-it"

"""Options of downloads from Hugging Face and Kaggle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma.gm.hub._errors import CheckpointNotFoundError


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """What the clients of Hugging Face and Kaggle are told; their own defaults if nothing.

    Attributes:
      cache_dir: Where Hugging Face's client keeps files, instead of HF_HOME.
      token: Of Hugging Face: a token, True for the one that is logged in, False for none.
      local_files_only: Whether the network is left alone.
      force: Whether files are fetched again that are here.
    """

    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    force: bool = False

    def for_huggingface(self) -> dict[str, Any]:
        """Returns the arguments of Hugging Face's client."""
        stated = {
            "cache_dir": self.cache_dir,
            "token": self.token,
            "local_files_only": self.local_files_only or None,
            "force_download": self.force or None,
        }
        return {name: value for name, value in stated.items() if value is not None}

    def for_kaggle(self, handle: str) -> dict[str, Any]:
        """Returns the arguments of Kaggle's client.

        Raises:
          CheckpointNotFoundError: It cannot do what was asked.
        """
        if self.cache_dir is not None or self.token or self.local_files_only:
            raise CheckpointNotFoundError(
                f"{handle} is on Kaggle, whose client takes no cache_dir, token or "
                "local_files_only.",
                hint="Set KAGGLEHUB_CACHE and log in with kagglehub, or give a path.",
            )
        return {"force_download": True} if self.force else {}

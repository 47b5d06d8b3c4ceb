"""Which files `from_pretrained` means: options of the download, revision and file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gemma.gm import hub
from gemma.hf._fixed_options import FixedOption, take_fixed

HONOURED = (
    "cache_dir",
    "force_download",
    "gguf_file",
    "local_files_only",
    "revision",
    "token",
    "use_auth_token",
)
FIXED = {
    "subfolder": FixedOption(("", None), "pass the path of that folder"),
    "proxies": FixedOption((None,), "set HTTPS_PROXY"),
    "resume_download": FixedOption((None, True, False), "downloads always resume"),
    "trust_remote_code": FixedOption(
        (False, None), "code of a checkpoint is never run"
    ),
    "code_revision": FixedOption((None, "main"), "code of a checkpoint is never run"),
}


class HubOptions(NamedTuple):
    """Where to look for a checkpoint.

    Attributes:
      revision: A branch or commit on Hugging Face.
      file: A GGUF file of the repository or folder.
      download: How it is fetched.
    """

    revision: str | None
    file: str | None
    download: hub.Download

    @classmethod
    def take(cls, options: Mapping[str, Any]) -> tuple["HubOptions", dict[str, Any]]:
        """Returns these options, and those that are left.

        Raises:
          TypeError: An option of transformers that cannot be honoured.
        """
        rest = take_fixed(options, FIXED)
        found = {name: rest.pop(name, None) for name in HONOURED}
        token = found["token"]
        download = hub.Download(
            cache_dir=found["cache_dir"],
            token=found["use_auth_token"] if token is None else token,
            local_files_only=bool(found["local_files_only"]),
            force=bool(found["force_download"]),
        )
        return cls(found["revision"], found["gguf_file"], download), rest

    def resolve(self, name: str | Path | None) -> Path:
        """Returns the file or folder of a checkpoint; see `gm.hub.resolve`."""
        if name is None:
            return hub.resolve(None)
        is_here = Path(name).expanduser().exists()
        if self.file is not None:
            name = Path(name) / self.file if is_here else f"{name}/{self.file}"
        # What is on disk has one revision only, and main is what is asked for anyway.
        if not is_here and self.revision not in (None, "main"):
            name = f"{name}@{self.revision}"
        return hub.resolve(name, download=self.download)

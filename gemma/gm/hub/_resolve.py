"""A model's name -> its files on this machine, fetched if need be.

The only file of the package that speaks to the network, through the clients of Hugging
Face and Kaggle. Both keep what they fetched and use it when the network is away; Kaggle's
only when the handle has a version.
"""

import contextlib
import dataclasses
import re
import sys
from pathlib import Path

from gemma.gm.hub._download import Download
from gemma.gm.hub._embedded import embedded_checkpoint
from gemma.gm.hub._errors import CheckpointNotFoundError
from gemma.gm.hub._parts import part_names
from gemma.gm.hub._published import close_names, published_names, published_repository

# What a checkpoint is made of. Repositories also hold GGUF and PyTorch copies of the
# same weights, each as big again.
_CHECKPOINT_PATTERNS = ["*.json", "*.jinja", "*.safetensors", "tokenizer.model"]
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:/(.+\.gguf))?", re.ASCII)
_CHECKPOINT_SUFFIXES = (".gguf", ".safetensors")
_FORMS = (
    "a path, a published name (gemma-3-1b-it), org/name[/file.gguf][@revision] on Hugging"
    " Face, or owner/model/framework/variation[/version] on Kaggle"
)


def resolve(
    name: str | Path | None = None, *, download: Download | None = None
) -> Path:
    """Returns the local file or folder of a checkpoint.

    What exists on disk comes first, whatever else the name could mean; `hf://` and
    `kaggle://` before a name leave no doubt.

    Args:
        name: None for the embedded Gemma 3 270M; a path; a published name such as
            `gemma-3-1b-it`; `org/name`, `org/name@revision` or `org/name/file.gguf` on
            Hugging Face, of a split file with all its parts; `owner/model/framework/variation[/version]` on Kaggle.
        download: How what is not on disk is fetched, if not as the clients do.

    Raises:
        CheckpointNotFoundError: There is no such model, or it cannot be fetched; its
            `hint` says what to do.
    """
    if name is None:
        return embedded_checkpoint()
    if name == "":
        raise CheckpointNotFoundError(
            "The model's name is empty.", hint=f"Give {_FORMS}."
        )
    path = Path(name).expanduser()
    if path.exists():
        return path
    if isinstance(name, Path) or _looks_like_path(name):
        raise CheckpointNotFoundError(
            f"There is no file or folder {str(path)!r}.",
            hint=f"Check the path, seen from {Path.cwd()}.{_otherwise(name)}",
        )
    return _fetch(name, download or Download())


def _otherwise(name: str | Path) -> str:
    """Returns what to write if a path that was not found was meant as a name."""
    is_name = isinstance(name, str) and _REPOSITORY.fullmatch(name)
    return f" On Hugging Face: hf://{name}" if is_name else ""


def _looks_like_path(name: str) -> bool:
    if name.startswith((".", "/", "~")) or "\\" in name or name.endswith("/"):
        return True
    # A mistyped path would be looked for on the network until that gives up.
    folder, slash, _ = name.partition("/")
    if slash and "://" not in name and Path(folder).is_dir():
        return True
    # Three parts and more may be a file in a repository.
    return name.endswith(_CHECKPOINT_SUFFIXES) and name.count("/") < 2


def _fetch(name: str, download: Download) -> Path:
    scheme, _, handle = name.rpartition("://")
    if scheme == "hf":
        return _from_huggingface(handle, download)
    if scheme == "kaggle":
        return _from_kaggle(handle, download)
    if scheme:
        raise CheckpointNotFoundError(
            f"Cannot fetch {name!r}: only hf:// and kaggle:// are known.",
            hint=f"Give {_FORMS}.",
        )
    place, _, _ = handle.partition("@")
    if place.count("/") in (3, 4) and not place.endswith(_CHECKPOINT_SUFFIXES):
        return _from_kaggle(handle, download)
    return _from_huggingface(handle, download)


@dataclasses.dataclass(frozen=True, slots=True)
class _Repository:
    """A handle on Hugging Face, taken apart. No file means the whole checkpoint."""

    id: str
    file: str
    revision: str | None

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.id}"


def _parse_huggingface(handle: str) -> _Repository:
    place, _, revision = handle.partition("@")
    place = published_repository(place) or place
    if "/" not in place:
        raise _unknown_model(handle)
    match = _REPOSITORY.fullmatch(place)
    if not match:
        raise CheckpointNotFoundError(
            f"{handle!r} does not name a model.", hint=f"Give {_FORMS}."
        )
    return _Repository(match[1], match[2] or "", revision or None)


def fetch_file(repository_id: str, file: str) -> Path:
    """Returns one file of a repository on Hugging Face.

    Raises:
        CheckpointNotFoundError: It cannot be fetched.
    """
    return _fetch_from(_Repository(repository_id, file, None), Download())


def _from_huggingface(handle: str, download: Download) -> Path:
    return _fetch_from(_parse_huggingface(handle), download)


def _fetch_from(repository: _Repository, download: Download) -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise _client_missing("huggingface_hub", repository.id) from error
    if repository.file:
        parts = {
            name: _fetch_one(dataclasses.replace(repository, file=name), download)
            for name in part_names(repository.file)
        }
        return parts[repository.file]
    try:
        fetched = huggingface_hub.snapshot_download(
            repository.id,
            revision=repository.revision,
            allow_patterns=_CHECKPOINT_PATTERNS,
            **download.for_huggingface(),
        )
    # Its HTTP library's errors come through, and that library differs by version.
    except Exception as error:
        raise _explain_huggingface(error, repository) from error
    return _checked_snapshot(Path(fetched), repository)


def _fetch_one(repository: _Repository, download: Download) -> Path:
    """Returns the file of a repository that it names."""
    import huggingface_hub

    try:
        fetched = huggingface_hub.hf_hub_download(
            repository.id,
            repository.file,
            revision=repository.revision,
            **download.for_huggingface(),
        )
    except Exception as error:
        raise _explain_huggingface(error, repository) from error
    return Path(fetched)


def _checked_snapshot(folder: Path, repository: _Repository) -> Path:
    if any(folder.glob("*.safetensors")):
        return folder
    raise CheckpointNotFoundError(
        f"{repository.id} has no .safetensors files.",
        hint=f"For a GGUF file, name it: {repository.id}/FILE.gguf. The files are listed"
        f" at {repository.page}/tree/main.",
    )


def _explain_huggingface(
    error: Exception, repository: _Repository
) -> CheckpointNotFoundError:
    from huggingface_hub import errors

    # When the Hub refuses, the client may report only that its cache has no copy.
    status = _http_status(error) or _http_status(error.__cause__)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return _refused("Hugging Face", repository.id, repository.page, "hf auth login")
    if isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointNotFoundError(
            f"There is no {repository.id!r} here or on Hugging Face that you may see.",
            hint=_did_you_mean(repository.id)
            or "Check the spelling. For a private repository: hf auth login",
        )
    if status == 401:
        return _refused("Hugging Face", repository.id, repository.page, "hf auth login")
    if isinstance(error, errors.RevisionNotFoundError):
        message = f"{repository.id} has no revision {repository.revision!r}."
        return CheckpointNotFoundError(message, hint=f"See {repository.page}/commits.")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        message = f"{repository.id} has no file {repository.file!r}."
        return CheckpointNotFoundError(
            message, hint=f"See {repository.page}/tree/main."
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return CheckpointNotFoundError(
            f"Hugging Face cannot be reached, and {repository.id} is not wholly in the"
            " local cache.",
            hint="Connect to the network once to fetch it, or give a path.",
        )
    return _not_fetched("Hugging Face", repository.id, error)


def _from_kaggle(handle: str, download: Download) -> Path:
    owner, *rest = handle.split("/")
    if not 3 <= len(rest) <= 4 or not all((owner, *rest)):
        raise CheckpointNotFoundError(
            f"{handle!r} does not name a model on Kaggle.",
            hint="Give owner/model/framework/variation[/version], such as"
            " google/gemma-3/flax/gemma3-1b-it.",
        )
    asked = download.for_kaggle(handle)
    # The client sends its log to the stdout it finds when imported; words go to stderr.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            import kagglehub
        except ImportError as error:
            raise _client_missing("kagglehub", handle) from error
        try:
            return Path(kagglehub.model_download(handle, **asked))
        # Kaggle's, its HTTP library's and the archive's errors have no class in common.
        except Exception as error:
            raise _explain_kaggle(error, handle) from error


def _explain_kaggle(error: Exception, handle: str) -> CheckpointNotFoundError:
    from kagglehub.exceptions import UnauthenticatedError

    owner, model, *_ = handle.split("/")
    page = f"https://www.kaggle.com/models/{owner}/{model}"
    status = _http_status(error)
    if isinstance(error, UnauthenticatedError) or status in (401, 403):
        login = "save an API token from https://www.kaggle.com/settings in ~/.kaggle"
        return _refused("Kaggle", handle, page, login)
    if status == 404:
        message = f"There is no {handle!r} here or on Kaggle that you may see."
        return CheckpointNotFoundError(message, hint=f"Look at {page}.")
    return _not_fetched("Kaggle", handle, error)


def _http_status(error: BaseException | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _unknown_model(name: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(
        f"There is no file, folder or published model {name!r}.",
        hint=_did_you_mean(name)
        or f"Give {_FORMS}. Published: {', '.join(published_names())}.",
    )


def _did_you_mean(name: str) -> str:
    names = [close for close in close_names(name) if not name.endswith(f"/{close}")]
    return f"Did you mean {' or '.join(names)}?" if names else ""


def _client_missing(client: str, name: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(
        f"{name} is not on this machine, and fetching it needs {client}.",
        hint="pip install 'gemma-jax[hub]', or give the path of a checkpoint.",
    )


def _refused(site: str, name: str, page: str, login: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(
        f"{site} refuses access to {name}.",
        hint=f"Accept the terms at {page}, then log in: {login}",
    )


def _not_fetched(site: str, name: str, error: Exception) -> CheckpointNotFoundError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return CheckpointNotFoundError(
        f"Could not fetch {name} from {site}: {reason}",
        hint="Check the network and the free disk space and try again, or give a path.",
    )

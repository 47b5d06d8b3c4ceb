import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gemma.gm import hub
from gemma.gm.hub import CheckpointNotFoundError, published_names, resolve

# The real clients, for their real errors: pip install 'gemma-jax[hub]'.
huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
errors = pytest.importorskip("huggingface_hub.errors")
kagglehub = pytest.importorskip("kagglehub")
kaggle_errors = pytest.importorskip("kagglehub.exceptions")
requests = pytest.importorskip("requests")


class Recorder:
    """Stands for a client's download function: returns or raises, and remembers."""

    def __init__(self, answer):
        self.answer, self.calls = answer, []

    def __call__(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def snapshot(tmp_path):
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def client(monkeypatch):
    """Replaces one download function by a recorder."""

    def replace(module, name, answer):
        recorder = Recorder(answer)
        monkeypatch.setattr(module, name, recorder)
        return recorder

    return replace


def http_response(status):
    return SimpleNamespace(status_code=status, headers={}, request=None)


def hub_error(kind, status):
    return kind("the Hub says no", response=http_response(status))


def caught(name):
    with pytest.raises(CheckpointNotFoundError) as info:
        resolve(name)
    return info.value


# Local paths


def test_no_name_means_the_embedded_model(tmp_path, monkeypatch):
    size_bytes = 253_113_024
    with open(tmp_path / "gemma-3-270m-q4_k_m.gguf", "wb") as file:
        file.truncate(size_bytes)
    monkeypatch.setenv("GEMMA_CACHE_DIR", str(tmp_path))
    assert resolve() == tmp_path / "gemma-3-270m-q4_k_m.gguf"


@pytest.mark.parametrize("name", ["model.gguf", "google/gemma-3-1b-it", "gemma-2b"])
def test_what_is_on_disk_comes_first(name):
    Path(name).mkdir(parents=True)
    assert resolve(name) == Path(name)
    assert resolve(Path(name)) == Path(name)


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert resolve("~/work") == tmp_path / "work"


@pytest.mark.parametrize(
    "name",
    ["./a", "/no/such", "~/no-such", "a/b.gguf", "b.safetensors", r"a\b", Path("a/b")],
)
def test_missing_path_is_not_a_download(name):
    error = caught(name)
    assert str(error).startswith("There is no file or folder")
    assert str(Path.cwd()) in error.hint


# Names and handles


@pytest.mark.parametrize(
    ("name", "repository", "revision"),
    [
        ("google/gemma-3-1b-it", "google/gemma-3-1b-it", None),
        ("hf://org/name", "org/name", None),
        ("org/name@refs/pr/3", "org/name", "refs/pr/3"),
        ("gemma-3-1b-it", "google/gemma-3-1b-it", None),
        ("Gemma-2-2B@main", "google/gemma-2-2b", "main"),
    ],
)
def test_repository_is_fetched_without_copies(
    client, snapshot, name, repository, revision
):
    download = client(huggingface_hub, "snapshot_download", snapshot)
    assert resolve(name) == snapshot
    [((asked,), options)] = download.calls
    assert (asked, options["revision"]) == (repository, revision)
    assert options["allow_patterns"] == [
        "*.json",
        "*.jinja",
        "*.safetensors",
        "tokenizer.model",
    ]


@pytest.mark.parametrize("name", ["o/n/f.gguf", "hf://o/n/f.gguf", "o/n/d/e/f.gguf@v1"])
def test_named_gguf_is_fetched_alone(client, tmp_path, name):
    download = client(huggingface_hub, "hf_hub_download", tmp_path / "f.gguf")
    assert resolve(name) == tmp_path / "f.gguf"
    [((repository, file), options)] = download.calls
    assert (repository, file[-6:]) == ("o/n", "f.gguf")
    assert options == {"revision": "v1" if "@" in name else None}


def test_all_parts_of_a_split_gguf_are_fetched(monkeypatch, tmp_path):
    fetched = []

    def download(repository, file, **options):
        fetched.append((repository, file, options))
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    names = [f"d/m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    assert resolve(f"o/n/{names[1]}@v1") == tmp_path / names[1]
    assert fetched == [("o/n", name, {"revision": "v1"}) for name in names]


def test_a_part_that_a_repository_lacks_is_named(monkeypatch, tmp_path):
    def download(repository, file, **options):
        if "00002-of" in file:
            raise hub_error(errors.RemoteEntryNotFoundError, 404)
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    said = caught("o/n/m-00001-of-00002.gguf")
    assert str(said) == "o/n has no file 'm-00002-of-00002.gguf'."


@pytest.mark.parametrize(
    "handle", ["google/gemma/Flax/2b-it", "google/gemma/flax/2b-it/2"]
)
@pytest.mark.parametrize("scheme", ["", "kaggle://"])
def test_kaggle_handle_is_passed_on(client, tmp_path, scheme, handle):
    download = client(kagglehub, "model_download", tmp_path)
    assert resolve(scheme + handle) == tmp_path
    assert download.calls == [((handle,), {})]


@pytest.mark.parametrize("name", ["gs://bucket/model", "https://huggingface.co/a/b"])
def test_unknown_scheme_is_named(name):
    error = caught(name)
    assert "only hf:// and kaggle:// are known" in str(error)
    assert "org/name" in error.hint


@pytest.mark.parametrize("name", ["a/b/c", "a/b/c/d/e/f", "hf://a b/c", "hf:///c"])
def test_malformed_handle_is_named(name):
    assert "does not name a model" in str(caught(name))


@pytest.mark.parametrize("name", ["kaggle://a/b", "kaggle://a//c/d", "a/b//d"])
def test_malformed_kaggle_handle_shows_a_good_one(name):
    error = caught(name)
    assert "does not name a model on Kaggle" in str(error)
    assert "owner/model/framework/variation" in error.hint


def test_close_names_are_offered():
    error = caught("gemma3-1b-it")
    assert str(error) == "There is no file, folder or published model 'gemma3-1b-it'."
    assert error.hint.startswith("Did you mean gemma-3-1b-it")


def test_name_like_none_shows_all_published():
    hint = caught("llama").hint
    assert all(name in hint for name in published_names())


def test_empty_name_is_not_the_working_directory():
    assert str(caught("")) == "The model's name is empty."


# What Hugging Face answers

REPO = "google/gemma-3-1b-it"


@pytest.mark.parametrize(
    "error",
    [
        hub_error(errors.GatedRepoError, 401),
        hub_error(errors.GatedRepoError, 403),
        hub_error(errors.HfHubHTTPError, 401),
        hub_error(errors.HfHubHTTPError, 403),
    ],
    ids=lambda error: f"{type(error).__name__} {error.response.status_code}",
)
def test_refused_access_says_how_to_get_in(client, error):
    client(huggingface_hub, "snapshot_download", error)
    said = caught(REPO)
    assert str(said) == f"Hugging Face refuses access to {REPO}."
    assert f"https://huggingface.co/{REPO}" in said.hint
    assert "hf auth login" in said.hint


def test_refusal_behind_an_empty_cache_is_a_refusal(client):
    error = errors.LocalEntryNotFoundError("nothing in the cache")
    error.__cause__ = hub_error(errors.HfHubHTTPError, 403)
    client(huggingface_hub, "snapshot_download", error)
    assert "refuses access" in str(caught(REPO))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("google/gemma-3-1b-itt", "Did you mean gemma-3-1b-it"),
        ("somebody/something", "Check the spelling"),
    ],
)
def test_unknown_repository(client, name, hint):
    error = hub_error(errors.RepositoryNotFoundError, 401)
    client(huggingface_hub, "snapshot_download", error)
    said = caught(name)
    assert str(said).startswith(f"There is no {name!r} here or on Hugging Face")
    assert said.hint.startswith(hint)


def test_unknown_revision(client):
    error = hub_error(errors.RevisionNotFoundError, 404)
    client(huggingface_hub, "snapshot_download", error)
    assert str(caught(f"{REPO}@v9")) == f"{REPO} has no revision 'v9'."


def test_unknown_file(client):
    error = hub_error(errors.RemoteEntryNotFoundError, 404)
    client(huggingface_hub, "hf_hub_download", error)
    assert str(caught(f"{REPO}/f.gguf")) == f"{REPO} has no file 'f.gguf'."


def test_repository_of_gguf_files_asks_which(client, tmp_path):
    client(huggingface_hub, "snapshot_download", tmp_path)
    error = caught(REPO)
    assert str(error) == f"{REPO} has no .safetensors files."
    assert f"{REPO}/FILE.gguf" in error.hint


def test_anything_else_keeps_its_first_line(client):
    client(huggingface_hub, "snapshot_download", RuntimeError("proxy is away\nat 7"))
    error = caught(REPO)
    assert str(error) == f"Could not fetch {REPO} from Hugging Face: proxy is away"
    assert isinstance(error.__cause__, RuntimeError)


@pytest.fixture
def offline_cache(tmp_path, monkeypatch):
    """The real client, told to stay offline, with an empty cache of its own."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path / "hf"


def test_offline_copy_is_used(offline_cache):
    repository = offline_cache / "models--google--gemma-3-1b-it"
    folder = repository / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert resolve(REPO) == folder


@pytest.mark.parametrize("name", [REPO, f"{REPO}/f.gguf"])
def test_offline_without_a_copy_is_said(offline_cache, name):
    error = caught(name)
    assert str(error).startswith("Hugging Face cannot be reached")
    assert "\n" not in str(error)


# What Kaggle answers

HANDLE = "google/gemma/flax/2b-it"


@pytest.mark.parametrize(
    "error",
    [
        kaggle_errors.KaggleApiHTTPError("no", response=http_response(403)),
        kaggle_errors.KaggleApiHTTPError("no", response=http_response(401)),
        kaggle_errors.UnauthenticatedError(),
    ],
    ids=["403", "401", "no token"],
)
def test_kaggle_refusal_says_how_to_get_in(client, error):
    client(kagglehub, "model_download", error)
    said = caught(HANDLE)
    assert str(said) == f"Kaggle refuses access to {HANDLE}."
    assert "https://www.kaggle.com/models/google/gemma," in said.hint
    assert "token" in said.hint


def test_unknown_kaggle_model(client):
    error = kaggle_errors.KaggleApiHTTPError("no", response=http_response(404))
    client(kagglehub, "model_download", error)
    assert str(caught(HANDLE)).startswith(f"There is no {HANDLE!r} here or on Kaggle")


def test_kaggle_out_of_reach(client):
    client(kagglehub, "model_download", requests.ConnectionError("no route"))
    error = caught(HANDLE)
    assert str(error) == f"Could not fetch {HANDLE} from Kaggle: no route"
    assert "network" in error.hint


# The clients are optional


@pytest.mark.parametrize(
    ("module", "name"), [("huggingface_hub", REPO), ("kagglehub", HANDLE)]
)
def test_missing_client_names_the_extra(monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    error = caught(name)
    assert module in str(error)
    assert "pip install 'gemma-jax[hub]'" in error.hint


def test_hub_loads_nothing_heavy():
    heavy = {"jax", "numpy", "huggingface_hub", "kagglehub", "rich", "filelock"}
    code = f"import sys, gemma.gm.hub; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_face_is_whole():
    assert all(hasattr(hub, name) for name in hub.__all__)


def test_a_mistyped_path_is_not_looked_for_on_the_network(client):
    """A name whose first part is a folder here is a path: the network would take long."""
    download = client(huggingface_hub, "snapshot_download", RuntimeError("no network"))
    Path("models/gemma-3-1b-it").mkdir(parents=True)
    for name in ("models/gemma-3-1b-ti", "models/x/y", "elsewhere/"):
        with pytest.raises(CheckpointNotFoundError, match="There is no file or folder"):
            resolve(name)
    with pytest.raises(CheckpointNotFoundError) as error:
        resolve("models/gemma-3-1b-ti")
    assert error.value.hint.endswith("On Hugging Face: hf://models/gemma-3-1b-ti")
    assert download.calls == []


@pytest.mark.parametrize(
    "name",
    [
        "medgemma-4b-it",
        "translategemma-4b-it",
        "txgemma-9b-chat",
        "datagemma-rag-27b-it",
        "functiongemma-270m-it",
        "gemma-3-4b-it-qat-q4_0-unquantized",
    ],
)
def test_names_of_the_whole_family(client, snapshot, name):
    download = client(huggingface_hub, "snapshot_download", snapshot)
    assert resolve(name) == snapshot
    assert download.calls[0][0] == (f"google/{name}",)


def test_clients_are_told_what_was_asked(client, snapshot):
    asked = hub.Download(cache_dir="/c", token=False, local_files_only=True, force=True)
    download = client(huggingface_hub, "snapshot_download", snapshot)
    resolve("org/name", download=asked)
    [(_, options)] = download.calls
    assert (options["cache_dir"], options["token"]) == ("/c", False)
    assert options["local_files_only"] is options["force_download"] is True
    download = client(kagglehub, "model_download", snapshot)
    resolve("google/gemma/flax/2b-it", download=hub.Download(force=True))
    assert download.calls == [(("google/gemma/flax/2b-it",), {"force_download": True})]


def test_what_kaggle_cannot_do_is_named():
    with pytest.raises(CheckpointNotFoundError, match="takes no cache_dir"):
        resolve("google/gemma/flax/2b-it", download=hub.Download(cache_dir="/c"))

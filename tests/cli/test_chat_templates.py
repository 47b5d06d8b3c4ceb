"""`gemma chat` with the checkpoint's own chat template."""

import json
import shutil
from pathlib import Path

import pytest

TEMPLATES = json.loads(
    (Path(__file__).parents[1] / "data" / "chat_templates.json").read_text("utf-8")
)
SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
)


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return Path(shutil.copytree(tiny_folder("gemma2_gqa"), tmp_path / "model-it"))


def options(folder):
    return "chat", "--model", folder, "-n", 2, "--cache-length", 150, "--seed", 1


def test_variables_reach_the_template(gemma, folder):
    (folder / "chat_template.jinja").write_text(TEMPLATES["guard"], "utf-8")
    kwargs = "--chat-template-kwargs", '{"guideline": "no lies"}'
    found = gemma(*options(folder), *kwargs, stdin=b"Hi\n")
    assert found.code == 0, found.stderr
    found = gemma(*options(folder), kwargs[0], '{"rule": 1}', stdin=b"Hi\n")
    assert found.code == 1
    assert "does not read 'rule'" in found.stderr
    assert "bug" not in found.stderr


@pytest.mark.parametrize("stated", ["{", "[1]", "guideline"])
def test_variables_are_a_json_object(gemma, folder, stated):
    found = gemma(*options(folder), "--chat-template-kwargs", stated, stdin=b"Hi\n")
    assert found.code == 2
    assert "it is no JSON" in found.stderr


def test_a_template_may_have_system_prompts_where_the_family_has_none(gemma, folder):
    asked = *options(folder), "--system", "Be brief."
    assert "Gemma 2 has no system prompt" in gemma(*asked, stdin=b"Hi\n").stderr
    (folder / "chat_template.jinja").write_text(SYSTEM, "utf-8")
    assert gemma(*asked, stdin=b"Hi\n").code == 0


def test_a_template_that_refuses_says_so_in_one_line(gemma, folder):
    refusal = "{{ raise_exception('Only one message, please.') }}"
    (folder / "chat_template.jinja").write_text(refusal, "utf-8")
    found = gemma(*options(folder), stdin=b"Hi\n")
    assert found.code == 1
    assert "refuses this conversation: Only one message, please." in found.stderr
    assert "Traceback" not in found.stderr

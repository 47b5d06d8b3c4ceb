"""A folder with what a published Gemma 3 has beside its weights, of tiny sizes."""

import json
from pathlib import Path

from gemma import gm

DATA = Path(__file__).parent
BOI, EOI, SOFT = "<start_of_image>", "<end_of_image>", "<image_soft_token>"


def write_processor(made: Path) -> Path:
    """Writes the files of a processor, with four tokens for an image; returns the folder.

    The tiny vocabulary of 480 tokens has two more: the end of an image and the soft token.
    """
    state = json.loads((DATA / "tiny_tokenizer.json").read_text("utf-8"))
    for i, name in enumerate((EOI, SOFT)):
        added = dict(state["added_tokens"][7], id=480 + i, content=name)
        state["added_tokens"].append(added)
    state["post_processor"] = gm.ckpts.text_rule(("<bos>", 2), None)
    (made / "tokenizer.json").write_text(json.dumps(state), "utf-8")
    files = {
        "tokenizer_config.json": {
            "tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>",
            "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
            "boi_token": BOI, "eoi_token": EOI, "image_token": SOFT,
            "extra_special_tokens": {
                "boi_token": BOI, "eoi_token": EOI, "image_token": SOFT,
            },
        },
        "config.json": {"model_type": "gemma3"},
        "processor_config.json": {
            "image_seq_length": 4, "processor_class": "Gemma3Processor",
        },
        "preprocessor_config.json": {
            "do_convert_rgb": None, "do_normalize": True, "do_pan_and_scan": True,
            "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.4, 0.5],
            "image_processor_type": "Gemma3ImageProcessor", "image_seq_length": 256,
            "image_std": [0.5, 0.5, 0.6], "processor_class": "Gemma3Processor",
            "resample": 2, "rescale_factor": 1 / 255, "size": {"height": 56, "width": 56},
        },
    }  # fmt: skip
    for name, content in files.items():
        (made / name).write_text(json.dumps(content))
    templates = json.loads((DATA / "chat_templates.json").read_text("utf-8"))
    template = next(t for t in _texts(templates) if BOI in t and "first_user" in t)
    (made / "chat_template.jinja").write_text(template)
    return made


def _texts(found):
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict | list):
        for entry in found.values() if isinstance(found, dict) else found:
            yield from _texts(entry)

"""What DeepMind's own `gemma` makes of models and checkpoints.

`test_live_deepmind.py` fills a folder with cases and runs this with a Python that has
their library: `deepmind_peer.py FOLDER NAME ...`. A case is a folder too. In it stand

  case.json     fields of their config, and a prompt
  inputs.npz    tokens, and images if the model has eyes
  ours          a checkpoint that this library wrote
  tokenizer.model

and this adds

  tree.json     path, shape and dtype of each weight that they make
  nested, flat, stacked, training/checkpoints/ckpt_3    checkpoints of one random model
  theirs.npy    its logits
  ours.npy      those of the checkpoint in `ours`
  answer.json   ids that their sampler writes after the prompt, with the weights of `ours`

Beside the cases it writes published.json: config and tree of the models of the names.
"""

# ruff: noqa: I001 (to this file `gemma` is a library like the others)
import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict
from gemma import gm
from gemma.gm.ckpts import _checkpoint
from gemma.gm.nn import _config
from gemma.gm.nn._modules import AttentionType
from gemma.multimodal.vision import SigLiPFromPatches, VisionExit
from gemma.multimodal.vision_utils import ViTModel
from kauldron import kd


def make_model(fields):
    """Returns a model of theirs in float32."""
    scale = _config.QueryPreAttentionNormalisation[fields["query_pre_attn_norm"]]
    types = tuple(AttentionType[name] for name in fields["attention_types"])
    eyes = fields["vision_encoder"]
    config = fields | {
        "query_pre_attn_norm": scale,
        "attention_types": types,
        "vision_encoder": None if eyes is None else make_eyes(**eyes),
    }
    return gm.nn.Transformer(
        config=_config.TransformerConfig(**config), dtype=jnp.float32, tokens="tokens"
    )


def make_eyes(*, image_size, patch_size, num_soft_tokens, **sizes):
    """Returns their vision tower."""
    return SigLiPFromPatches(
        siglip_encoder=ViTModel(patch_size=(patch_size, patch_size), **sizes),
        siglip_exit=VisionExit(output_length=num_soft_tokens),
        num_mm_tokens_per_image_prepool=(image_size // patch_size) ** 2,
        num_mm_tokens_per_image=num_soft_tokens,
        image_height=image_size,
        image_width=image_size,
    )


def make_weights(shapes):
    """Returns random weights of a size under which logits differ."""
    rng = np.random.default_rng(5)
    return jax.tree.map(
        lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), x.dtype), shapes
    )


def save_all_ways(params, types, folder):
    """Writes one model in each layout that their loader knows."""
    period = list(types).index(AttentionType.GLOBAL) + 1
    layouts = {
        "nested": params,
        "flat": _checkpoint._nested_to_flat(params),
        "stacked": _checkpoint._nested_to_stacked(params, period),
    }
    for name, tree in layouts.items():
        gm.ckpts.save_params(tree, folder / name, wait_until_finished=True)
    state = kd.train.TrainState(
        step=3, params=params, opt_state=optax.adam(0.1).init(params), collections={}
    )
    trainer = kd.ckpts.Checkpointer(workdir=folder / "training", save_interval_steps=1)
    trainer.save(state, step=3)
    trainer.wait_until_finished()


def write_answer(model, params, prompt, folder):
    sampler = gm.text.Sampler(
        model=model,
        params=params,
        tokenizer=gm.text.Gemma3Tokenizer(path=folder / "tokenizer.model"),
        cache_length=64,
        pad_length=16,
        max_out_length=8,
    )
    output = sampler.sample(prompt, return_state=True)
    (folder / "answer.json").write_text(json.dumps(output.tokens.tolist()))


def shapes_of(model, tokens):
    """Returns shape and dtype of each weight that a model makes."""
    return jax.eval_shape(model.init, jax.random.key(0), tokens)["params"]


def describe(shapes):
    flat = flatten_dict(shapes, sep="/")
    return {name: [x.shape, x.dtype.name] for name, x in flat.items()}


def complete(folder):
    """Adds to a case what this library has to say to it."""
    case = json.loads((folder / "case.json").read_text())
    inputs = {
        name: jnp.asarray(x) for name, x in np.load(folder / "inputs.npz").items()
    }
    model = make_model(case["config"])
    shapes = shapes_of(model, inputs["tokens"])
    (folder / "tree.json").write_text(json.dumps(describe(shapes)))
    theirs = make_weights(shapes)
    save_all_ways(theirs, model.config.attention_types, folder)
    ours = gm.ckpts.load_params(folder / "ours")
    for name, params in {"theirs": theirs, "ours": ours}.items():
        logits = model.apply({"params": params}, **inputs).logits
        np.save(folder / f"{name}.npy", logits)
    if case["prompt"]:
        write_answer(model, ours, case["prompt"], folder)


def fields_of(config):
    """Returns the fields of a config as `make_model` takes them."""
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    eyes = config.vision_encoder
    return fields | {
        "query_pre_attn_norm": config.query_pre_attn_norm.name,
        "attention_types": [kind.name for kind in config.attention_types],
        "vision_encoder": None if eyes is None else fields_of_eyes(eyes),
    }


def fields_of_eyes(eyes):
    tower = eyes.siglip_encoder
    return {
        "image_size": eyes.image_height,
        "patch_size": tower.patch_size[0],
        "num_soft_tokens": eyes.num_mm_tokens_per_image,
        "width": tower.width,
        "mlp_dim": tower.mlp_dim,
        "depth": tower.depth,
        "num_heads": tower.num_heads,
    }


def published(name):
    """Returns config and tree of a published model, which is never made."""
    model = getattr(gm.nn, name)(tokens="tokens")
    tree = describe(shapes_of(model, jnp.ones((1, 2), jnp.int32)))
    return {"config": fields_of(model.config), "tree": tree}


def main(root, names):
    for folder in sorted(root.iterdir()):
        complete(folder)
    models = {name: published(name) for name in names}
    (root / "published.json").write_text(json.dumps(models))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

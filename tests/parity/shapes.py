"""Tiny random checkpoints of transformers, for the goldens and for live comparison.

Needs torch and transformers.
"""

import torch
import transformers

COMMON = {
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "attn_implementation": "eager",
}
LOCAL, GLOBAL = "sliding_attention", "full_attention"


def gemma1_mqa():
    """Heads that fill the width, one key head."""
    return transformers.GemmaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=1, **COMMON,
    )  # fmt: skip


def gemma1_mha_wide():
    """Heads wider together than the model, as in the 7B; an epsilon that shows."""
    return transformers.GemmaConfig(
        hidden_size=24, intermediate_size=40, num_hidden_layers=2, head_dim=16,
        num_attention_heads=3, num_key_value_heads=3, rms_norm_eps=1e-2,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, **COMMON,
    )  # fmt: skip


def gemma2_gqa():
    """Caps that bite, a scale that is not the head's, an odd number of layers."""
    return transformers.Gemma2Config(
        hidden_size=24, intermediate_size=40, num_hidden_layers=3, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, query_pre_attn_scalar=12,
        sliding_window=5, attn_logit_softcapping=2.0, final_logit_softcapping=4.0,
        **COMMON,
    )  # fmt: skip


def gemma2_uncapped():
    """No caps, every head its own keys, a window of one."""
    return transformers.Gemma2Config(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, head_dim=32,
        num_attention_heads=2, num_key_value_heads=2, query_pre_attn_scalar=32,
        sliding_window=1, attn_logit_softcapping=None, final_logit_softcapping=None,
        **COMMON,
    )  # fmt: skip


def gemma3_mqa():
    """The published pattern: five local layers, a global one, and one more."""
    return transformers.Gemma3TextConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=7, head_dim=8,
        num_attention_heads=4, num_key_value_heads=1, query_pre_attn_scalar=8,
        sliding_window=4, **COMMON,
    )  # fmt: skip


def gemma3_stretched():
    """Positions of global layers stretched by 8, layers in no regular order."""
    return transformers.Gemma3TextConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=4, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, query_pre_attn_scalar=6,
        sliding_window=6, layer_types=[GLOBAL, LOCAL, LOCAL, GLOBAL],
        rope_parameters={
            LOCAL: {"rope_type": "default", "rope_theta": 100.0},
            GLOBAL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        },
        **COMMON,
    )  # fmt: skip


def gemma3_capped():
    """A final cap, which no published Gemma 3 has but its config allows."""
    return transformers.Gemma3TextConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, head_dim=24,
        num_attention_heads=2, num_key_value_heads=2, query_pre_attn_scalar=24,
        sliding_window=3, layer_types=[LOCAL, GLOBAL, LOCAL],
        final_logit_softcapping=3.0, **COMMON,
    )  # fmt: skip


def gemma3_multimodal():
    """A model with eyes, of which only the text side is ours."""
    text = gemma3_mqa().to_dict() | {"num_hidden_layers": 3, "layer_types": None}
    return transformers.Gemma3Config(
        text_config=text,
        vision_config={
            "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
        },
        mm_tokens_per_image=4, boi_token_index=97, eoi_token_index=98,
        image_token_index=99, pad_token_id=0, eos_token_id=1, bos_token_id=2,
        attn_implementation="eager",
    )  # fmt: skip


SHAPES = {
    make.__name__: make
    for make in (
        gemma1_mqa,
        gemma1_mha_wide,
        gemma2_gqa,
        gemma2_uncapped,
        gemma3_mqa,
        gemma3_stretched,
        gemma3_capped,
        gemma3_multimodal,
    )
}


def random_model(config, *, seed: int) -> torch.nn.Module:
    """Returns a model with weights of a size that keeps every part of it awake."""
    is_multimodal = isinstance(config, transformers.Gemma3Config)
    auto = (
        transformers.AutoModelForImageTextToText
        if is_multimodal
        else transformers.AutoModelForCausalLM
    )
    model = auto.from_config(config, attn_implementation="eager").float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            is_norm = weight.ndim == 1 or "embed" in name
            stddev = 0.3 if is_norm else 1.5 / weight[0].numel() ** 0.5
            weight.copy_(stddev * torch.randn(weight.shape, generator=generator))
    return model


def greedy(model: torch.nn.Module, prompt: torch.Tensor, steps: int):
    """Returns greedy tokens [B, steps], and by how much each was better than the next.

    Written out, so that nothing of `generate` (ending, penalties) comes between.
    """
    tokens, margins, cache = [], [], None
    ids = prompt
    with torch.no_grad():
        for _ in range(steps):
            out = model(input_ids=ids, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            best = out.logits[:, -1].float().topk(2)
            ids = best.indices[:, :1]
            tokens.append(ids)
            margins.append(best.values[:, 0] - best.values[:, 1])
    return torch.cat(tokens, dim=1), torch.stack(margins, dim=1)

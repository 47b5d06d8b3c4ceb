"""Fields of transformers' GenerationConfig, and arguments of `generate`, that are fixed."""

from gemma.hf._fixed_options import FixedOption

_WRITE_IT = "write it as a logits_processor"
_DRAWS = "temperature, top_k, top_p and min_p say how tokens are drawn"
_ONE_CACHE = "there is one kind of cache, as long as it needs to be"
_AHEAD = "pass prompt_lookup_num_tokens or assistant_model"
_BEAMS = "beams are searched as num_beams, length_penalty and early_stopping say"
_PASS = "call the model for it: model(ids, output_hidden_states=True)"
_NO_ENCODER = "Gemma has no encoder"
_CACHES = (None, "dynamic", "static", "hybrid", "sliding_window", "hybrid_chunked")

FIXED = {
    "synced_gpus": FixedOption((False, None), "a call runs in one process"),
    "custom_generate": FixedOption((None,), "code of a checkpoint is never run"),
    "negative_prompt_ids": FixedOption((None,), _WRITE_IT),
    "negative_prompt_attention_mask": FixedOption((None,), _WRITE_IT),
    "position_ids": FixedOption((None,), "they are counted from the attention_mask"),
    "trust_remote_code": FixedOption(
        (False, None), "code of a checkpoint is never run"
    ),
    "output_attentions": FixedOption((False, None), _PASS),
    "output_hidden_states": FixedOption((False, None), _PASS),
    "num_beam_groups": FixedOption((1, None), _BEAMS),
    "diversity_penalty": FixedOption((0.0, None), _BEAMS),
    "constraints": FixedOption((None,), "gm.text.Sampler takes constraint="),
    "force_words_ids": FixedOption((None,), "gm.text.Sampler takes constraint="),
    "penalty_alpha": FixedOption((None,), _DRAWS),
    "typical_p": FixedOption((1.0, None), _DRAWS),
    "epsilon_cutoff": FixedOption((0.0, None), _DRAWS),
    "eta_cutoff": FixedOption((0.0, None), _DRAWS),
    "top_h": FixedOption((None,), _DRAWS),
    "guidance_scale": FixedOption((1.0, 1, None), _WRITE_IT),
    "watermarking_config": FixedOption((None,), _WRITE_IT),
    "exponential_decay_length_penalty": FixedOption((None,), _WRITE_IT),
    "remove_invalid_values": FixedOption((False, None), _WRITE_IT),
    "forced_bos_token_id": FixedOption((None,), _WRITE_IT),
    "token_healing": FixedOption((False, None), "end prompts where a token ends"),
    "dola_layers": FixedOption((None,), _WRITE_IT),
    "low_memory": FixedOption((False, None), _BEAMS),
    "encoder_no_repeat_ngram_size": FixedOption((0, None), _NO_ENCODER),
    "encoder_repetition_penalty": FixedOption((1.0, None), _NO_ENCODER),
    "decoder_start_token_id": FixedOption((None,), _NO_ENCODER),
    "is_assistant": FixedOption((False, None), _AHEAD),
    "num_assistant_tokens_schedule": FixedOption((None, "constant"), _AHEAD),
    "assistant_confidence_threshold": FixedOption((None,), _AHEAD),
    "assistant_early_exit": FixedOption((None,), _AHEAD),
    "assistant_ensemble_weight": FixedOption((None,), _AHEAD),
    "assistant_lookbehind": FixedOption((None,), _AHEAD),
    "target_lookbehind": FixedOption((None,), _AHEAD),
    "speculation_type": FixedOption((None,), _AHEAD),
    "use_mtp": FixedOption((None, False), _AHEAD),
    "cache_implementation": FixedOption(_CACHES, _ONE_CACHE),
    "cache_config": FixedOption((None,), _ONE_CACHE),
    "max_cache_len": FixedOption((None,), _ONE_CACHE),
    "prefill_chunk_size": FixedOption((None,), "prompts are read in chunks anyway"),
    "compile_config": FixedOption((None,), "JAX compiles what it runs"),
    "disable_compile": FixedOption((False, None), "JAX compiles what it runs"),
    "continuous_batching_config": FixedOption((None,), "pass prompts in one batch"),
}

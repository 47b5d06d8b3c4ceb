"""Names of DeepMind's library that are not here, and what to use in their place.

By the module and name of their library. Errors say these sentences, and the page
`coming-from/deepmind-names` of the documentation lists them.
"""

from collections.abc import Iterable

_NO_ADAPTERS = (
    "Adapters are not here yet; a checkpoint with LoRA factors loads with them added "
    "to its weights."
)
_NO_KAULDRON = (
    "Kauldron is not used: see the guide on fine-tuning for a loop with optax."
)
_NO_FAMILY = "Gemma 1, 2 and 3 are here: `gm.nn.Gemma3_4B` and others."
_NO_FLAX = (
    "There are no modules: `gm.nn.Transformer` has pure functions over a config and "
    "params."
)
_QUANTIZED = "Weights are packed with `gm.peft.quantize`, or by `load_params(dtype=)`."
_OTHER_TOOLS = "Pass Python functions to `gm.text.ToolSampler`, or a `gm.tools.Tool`."
_NO_DATA = "Batches are arrays of the caller: see the guide on fine-tuning."

ELSEWHERE: dict[str, str] = {
    "gemma.ckpts": "`gm.ckpts`, after `from gemma import gm`.",
    "gemma.dialog": "`gm.dialog`, after `from gemma import gm`.",
    "gemma.nn": "`gm.nn`, after `from gemma import gm`.",
    "gemma.text": "`gm.text`, after `from gemma import gm`.",
    "gemma.tools": "`gm.tools`, after `from gemma import gm`.",
    "gm.data": _NO_DATA,
    "gm.evals": "Answers of many prompts: `gm.text.Sampler.generate` over a list.",
    "gm.sharding": "`gm.ckpts.load_params(sharding=)` takes `jax.sharding` as it is.",
    "gm.testing": "`gm.nn.Transformer` of a small config, and `gm.text.TokenIds`.",
    "gm.utils": "It was private there.",
    "gm.nn.Gemma3n_E2B": _NO_FAMILY,
    "gm.nn.Gemma3n_E4B": _NO_FAMILY,
    "gm.nn.Gemma4_E2B": _NO_FAMILY,
    "gm.nn.Gemma4_E4B": _NO_FAMILY,
    "gm.nn.Gemma4_31B": _NO_FAMILY,
    "gm.nn.Gemma4_26B_A4B": _NO_FAMILY,
    "gm.nn.gemma3n": _NO_FAMILY,
    "gm.nn.gemma4": _NO_FAMILY,
    "gm.nn.LoRA": _NO_ADAPTERS,
    "gm.nn.QuantizationAwareWrapper": _QUANTIZED,
    "gm.nn.IntWrapper": _QUANTIZED,
    "gm.nn.AnchoredPolicy": (
        "Two params of one model: `model.apply` with each; see the guide on fine-tuning."
    ),
    "gm.nn.AnchoredPolicyOutput": "`gm.nn.Output`, of each of two calls.",
    "gm.nn.TransformerLike": "Samplers take a `gm.nn.Transformer`.",
    "gm.nn.Einsum": "`gm.weights.einsum`",
    "gm.nn.RMSNorm": "`gm.math.rms_norm`",
    "gm.nn.Embedder": "`gm.nn.Transformer.embed` and `gm.nn.Transformer.logits`",
    "gm.nn.Attention": _NO_FLAX,
    "gm.nn.Block": _NO_FLAX,
    "gm.nn.FeedForward": _NO_FLAX,
    "gm.nn.Cache": "`gm.typing.Cache`, made by `gm.nn.Transformer.init_cache`.",
    "gm.nn.SigLiPFromPatches": "`gm.nn.Transformer.see`, with `gm.vision.VisionConfig`.",
    "gm.nn.config": "`gm.nn.TransformerConfig`, and `gm.nn.gemma3_config` and others.",
    "gm.nn.ModelInfo": "`gm.nn.CATALOG` has the configs; tokenizers go by family.",
    "gm.nn.QueryPreAttentionNormalisation": "`gm.nn.LayerConfig.query_scale`",
    "gm.nn.make_attention_layers_types": "`gm.nn.repeat_pattern`",
    "gm.nn.GEMMA3_ATTENTION_PATTERN": "`gm.nn.gemma3_config` has it by default.",
    "gm.text.Gemma3nTokenizer": "`gm.text.Tokenizer.from_path` reads any file.",
    "gm.text.Gemma4Tokenizer": "`gm.text.Tokenizer.from_path` reads any file.",
    "gm.text.Gemma4Sampler": "`gm.text.Sampler`, for Gemma 1, 2 and 3.",
    "gm.text.SpecialTokens": "`gm.text.Tokenizer.special_tokens`",
    "gm.text.MinPSampling": "`gm.text.MinP(p=0.1)`",
    "gm.text.SamplingState": "`gm.text.State`",
    "gm.ckpts.LoadCheckpoint": "`gm.ckpts.load_params`; " + _NO_KAULDRON,
    "gm.ckpts.SkipLoRA": "`gm.ckpts.load_params`; " + _NO_ADAPTERS,
    "gm.ckpts.AnchoredPolicyLoader": (
        "`gm.ckpts.load_params` reads the policy of a checkpoint that has both."
    ),
    "gm.data.Parquet": _NO_DATA,
    "gm.data.ContrastiveTask": _NO_DATA,
    "gm.data.Seq2SeqTask": _NO_DATA,
    "gm.data.AddSeq2SeqFields": _NO_DATA,
    "gm.data.DecodeBytes": _NO_DATA,
    "gm.data.FormatText": "`gm.dialog.Conversation` and `gm.dialog.render`",
    "gm.data.MapInts": _NO_DATA,
    "gm.data.Pad": "`numpy.pad`, and `mask=` of `gm.nn.Transformer.apply`",
    "gm.data.Tokenize": "`gm.text.Tokenizer.encode`",
    "gm.data.make_seq2seq_fields": _NO_DATA,
    "gm.data.pad": "`numpy.pad`, and `mask=` of `gm.nn.Transformer.apply`",
    "gm.evals.SamplerEvaluator": "`gm.text.Sampler.generate` over a list of prompts.",
    "gm.losses.DpoLoss": "Not here yet; `gm.losses.next_token_cross_entropy` is.",
    "gm.losses.NpoLoss": "Not here yet; `gm.losses.next_token_cross_entropy` is.",
    "gm.math.count_consecutive": "`gm.math.ends_of_runs`",
    "gm.tools.ToolHandlerBase": _OTHER_TOOLS,
    "gm.tools.McpToolHandler": "`gm.tools.McpTools`",
    "gm.tools.ToolOutput": "What the function returns is the output.",
    "gm.tools.Example": "The docstring of the function tells the model what it does.",
    "gm.tools.Calculator": _OTHER_TOOLS,
    "gm.tools.FileExplorer": _OTHER_TOOLS,
    "gm.tools.OfflineToolSearch": _OTHER_TOOLS,
    "gm.tools.OneShotToolManager": "`gm.text.ToolSampler`",
    "gm.testing.DummyGemma": "`gm.nn.Transformer` of a small config",
    "gm.testing.DummyTokenizer": "`gm.text.TokenIds`",
    "gm.testing.use_hermetic_tokenizer": "`gm.text.Sampler(tokenizer=)`",
    "gemma.peft.Interceptor": _NO_FLAX,
    "gemma.peft.ModuleInterceptor": _NO_FLAX,
    "gemma.peft.LoRADense": _NO_ADAPTERS,
    "gemma.peft.LoRADenseAdapter": _NO_ADAPTERS,
    "gemma.peft.LoRADenseGeneral": _NO_ADAPTERS,
    "gemma.peft.LoRADenseGeneralAdapter": _NO_ADAPTERS,
    "gemma.peft.LoRAEinsum": _NO_ADAPTERS,
    "gemma.peft.LoRAEinsumAdapter": _NO_ADAPTERS,
    "gemma.peft.split_params": _NO_ADAPTERS,
    "gemma.peft.merge_params": _NO_ADAPTERS,
    "gemma.peft.fuse_params": _NO_ADAPTERS,
    "gemma.peft.unfuse_params": _NO_ADAPTERS,
    "gemma.peft.QuantizationMethod": 'A str: `gm.peft.quantize(params, "int4")`.',
    "gemma.peft.QuantizationGranularity": "`gm.peft.KINDS` have one scale a group.",
    "gemma.peft.simulate_quantize": "`gm.peft.quantize`, then `gm.peft.dequantize`",
    "gemma.peft.get_axis_to_reduce_from_einsum_str": _QUANTIZED,
    "gemma.peft.SimulateQuantizedDense": _QUANTIZED,
    "gemma.peft.SimulateQuantizedEinsum": _QUANTIZED,
    "gemma.peft.IntDense": _QUANTIZED,
    "gemma.peft.IntEinsum": _QUANTIZED,
    "gemma.diffusion": "Not here: " + _NO_FAMILY,
    "gemma.research": "Not here (T5Gemma): " + _NO_FAMILY,
    "gemma.multimodal": "`gm.vision`",
    "gemma.modules": "`gm.nn`: " + _NO_FLAX,
    "gemma.layers": "`gm.weights.einsum` and `gm.math.rms_norm`",
    "gemma.positional_embeddings": "`gm.math.apply_rope`",
    "gemma.params.load_metadata": "`gm.ckpts.load_config`",
    "gemma.params.load_siglip_params": "`gm.ckpts.load_params` reads them too.",
    "gemma.sampler.SamplingState": "`gm.text.State`",
    "gemma.transformer.QueryPreAttentionNormalisation": "`gm.nn.LayerConfig.query_scale`",
    "gemma.transformer.make_attention_layers_types": "`gm.nn.repeat_pattern`",
    "gemma.transformer.GEMMA3_ATTENTION_PATTERN": "`gm.nn.gemma3_config` has it.",
    "gemma.transformer.compute_sliding_mask": "`gm.math.attention_mask`",
}


def missing_name(module: str, name: str, has: Iterable[str] = ()) -> AttributeError:
    """Returns the error for a name that a module does not have.

    Args:
      module: The module's full name.
      name: The name.
      has: The names that it has, if they are few.
    """
    theirs = f"{module.replace('gemma.gm', 'gm', 1)}.{name}"
    told = ELSEWHERE.get(theirs) or ELSEWHERE.get(f"gemma.{theirs.partition('.')[2]}")
    known = ", ".join(has)
    if told is not None:
        words = f" In gemma-jax: {told.replace('`', '')}"
    else:
        words = f" It has: {known}." if known else ""
    return AttributeError(f"{module} has no {name!r}.{words}", name=name)

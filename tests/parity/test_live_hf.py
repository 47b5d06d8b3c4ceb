"""`gemma.hf` beside transformers: the same calls, the same numbers."""

import json

import numpy as np
import pytest
from tolerances import assert_close

from gemma import hf

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

from shapes import SHAPES, random_model  # noqa: E402

pytestmark = [
    pytest.mark.parity,
    pytest.mark.slow,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
TEXTS = [name for name in SHAPES if name != "gemma3_multimodal"]
SOME = ["gemma1_mqa", "gemma2_gqa", "gemma3_mqa"]
IDS = torch.tensor([[2, 9, 31, 7, 55, 12, 8, 40], [2, 44, 6, 17, 90, 3, 21, 5]])
# Padding on the left, on the right, and none.
PADDED = torch.tensor([[0, 0, 0, 2, 9, 31], [2, 44, 6, 17, 0, 0], [2, 8, 7, 6, 5, 4]])
MASK = (PADDED != 0).long()


@pytest.fixture
def both(request, tmp_path):
    """Their language model and ours, from the folder that they saved."""
    theirs = random_model(SHAPES[request.param](), seed=11)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = hf.AutoModelForCausalLM.from_pretrained(
        tmp_path / "theirs", dtype=torch.float32
    )
    return theirs, ours


def of(names):
    return pytest.mark.parametrize("both", names, indirect=True)


def same(ours, theirs):
    """Compares tensors, which both must be."""
    assert isinstance(ours, torch.Tensor)
    assert_close(ours.numpy(), theirs.detach().float().numpy(), law="parity")


@of(SHAPES)
def test_logits_loss_and_classes(both):
    theirs, ours = both
    assert type(ours).__name__ == type(theirs).__name__
    labels = IDS.clone()
    labels[0, :4] = -100
    expected, found = theirs(IDS, labels=labels), ours(IDS, labels=labels)
    same(found.logits, expected.logits)
    same(found.loss, expected.loss)
    assert ours.num_parameters() == sum(
        weight.numel()
        for name, weight in theirs.named_parameters()
        if ".head." not in name  # of the tower, which nobody asks
    )


@of(TEXTS)
def test_hidden_states_and_attentions(both):
    theirs, ours = both
    asked = {"output_hidden_states": True, "output_attentions": True}
    expected, found = theirs(IDS, **asked), ours(IDS, **asked)
    assert len(found.hidden_states) == len(expected.hidden_states)
    assert len(found.attentions) == len(expected.attentions)
    for mine, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        same(mine, other)
    for mine, other in zip(found.attentions, expected.attentions, strict=True):
        same(mine, other)


@of(SOME)
def test_padding_on_either_side(both):
    theirs, ours = both
    expected = theirs(PADDED, attention_mask=MASK).logits
    for use_cache in (False, True):
        found = ours(PADDED, attention_mask=MASK, use_cache=use_cache).logits
        same(found[MASK == 1], expected[MASK == 1])


@of(SOME)
def test_base_model_and_embeddings(both):
    theirs, ours = both
    expected = theirs.model(IDS).last_hidden_state
    same(ours.model(IDS).last_hidden_state, expected)
    embeddings = ours.get_input_embeddings()(IDS)
    same(embeddings, theirs.get_input_embeddings()(IDS))
    same(ours.model(inputs_embeds=embeddings).last_hidden_state, expected)
    same(ours.lm_head(expected), theirs(IDS).logits)


@of(SOME)
def test_going_on_from_past_key_values(both):
    theirs, ours = both
    whole = theirs(IDS).logits
    first = ours(IDS[:, :5])
    assert first.past_key_values.get_seq_length() == 5
    for i in range(5, 8):
        step = ours(IDS[:, i : i + 1], past_key_values=first.past_key_values)
        same(step.logits[:, 0], whole[:, i])


@of(["gemma3_mqa"])
def test_cache_grows_beyond_windows_and_its_first_size(both):
    theirs, ours = both
    ids = torch.arange(3, 63)[None]
    whole, past = theirs(ids).logits, None
    for begin in range(0, 60, 20):
        part = ours(ids[:, begin : begin + 20], past_key_values=past, use_cache=True)
        past = part.past_key_values
        same(part.logits, whole[:, begin : begin + 20])


@of(["gemma2_gqa"])
@pytest.mark.parametrize("keep", [1, 3, torch.tensor([0, 4])], ids=str)
def test_logits_to_keep(both, keep):
    theirs, ours = both
    same(ours(IDS, logits_to_keep=keep).logits, theirs(IDS, logits_to_keep=keep).logits)


@of(["gemma1_mqa"])
def test_tuples_and_fields(both):
    theirs, ours = both
    expected = theirs(IDS, return_dict=False, use_cache=False)
    found = ours(IDS, return_dict=False, use_cache=False)
    assert (type(found), len(found)) == (tuple, len(expected))
    same(found[0], expected[0])
    as_dict, their_dict = ours(IDS, labels=IDS), theirs(IDS, labels=IDS)
    assert list(as_dict.keys()) == list(their_dict.keys())
    same(as_dict[1], their_dict["logits"])


GREEDY = {
    "lengths": {"max_new_tokens": 12},
    "whole length": {"max_length": 14},
    "penalty": {"max_new_tokens": 12, "repetition_penalty": 1.7},
    "ends": {"max_new_tokens": 12, "eos_token_id": [7, 11, 13, 60, 61, 62, 63]},
    "suppressed": {"max_new_tokens": 8, "suppress_tokens": list(range(50, 100))},
    "by default": {},
}


@of(SOME)
@pytest.mark.parametrize("options", GREEDY.values(), ids=GREEDY.keys())
def test_greedy_answers(both, options):
    theirs, ours = both
    left = PADDED[[0, 2]]
    options = {"do_sample": False, "attention_mask": MASK[[0, 2]], **options}
    expected = theirs.generate(left, pad_token_id=0, **options)
    found = ours.generate(left, pad_token_id=0, **options)
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


@of(["gemma2_gqa"])
def test_several_answers_to_each_prompt(both):
    _, ours = both
    asked = {"do_sample": True, "max_new_tokens": 5, "num_return_sequences": 3}
    hf.set_seed(5)
    found = ours.generate(IDS, **asked, eos_token_id=None)
    assert found.shape == (6, 13)
    assert found[:3, :8].tolist() == [IDS[0].tolist()] * 3
    assert len({tuple(row) for row in found.tolist()}) == 6
    hf.set_seed(5)
    assert ours.generate(IDS, **asked, eos_token_id=None).tolist() == found.tolist()


@of(SOME)
def test_what_we_save_they_load(both, tmp_path):
    theirs, ours = both
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", attn_implementation="eager"
    )
    assert type(again) is type(theirs)
    torch.testing.assert_close(again(IDS).logits, theirs(IDS).logits, rtol=0, atol=0)
    expected = theirs.config.to_dict()
    found = again.config.to_dict()
    for name in ("rope_parameters", "sliding_window", "eos_token_id", "pad_token_id"):
        assert found.get(name) == expected.get(name), name


SEEING = of(["gemma3_multimodal"])
SOFT, TOKENS_PER_IMAGE, SIDE = 99, 4, 28
# Rows of letters, which are text, and stars, which are images.
WITH_IMAGES = [["abc"], ["a*b"], ["*a*b*"], ["abc*d", "ef", "*g*"], ["ab", "cdef"]]


def seen(rows):
    """Returns what their processor does: padding on the left, and types."""
    rng = np.random.default_rng(len("".join(rows)))
    star = [97, *[SOFT] * TOKENS_PER_IMAGE, 98]
    ids = [
        [2] + [i for c in row for i in (star if c == "*" else rng.integers(5, 90, 2))]
        for row in rows
    ]
    longest = max(map(len, ids))
    padded = torch.tensor([[0] * (longest - len(row)) + row for row in ids])
    inputs = {"input_ids": padded, "attention_mask": (padded != 0).long()}
    inputs["token_type_ids"] = (padded == SOFT).long()
    if num_images := "".join(rows).count("*"):
        levels = rng.integers(0, 256, (num_images, 3, SIDE, SIDE))
        inputs["pixel_values"] = torch.tensor((levels / 255 - 0.5) / 0.5).float()
    return inputs


@SEEING
@pytest.mark.parametrize("rows", WITH_IMAGES, ids=str)
def test_logits_and_loss_with_images(both, rows):
    theirs, ours = both
    inputs = seen(rows)
    is_real = inputs["attention_mask"] == 1
    # What foresees <bos> is padding, whose logits are anybody's.
    is_learnt = is_real & (inputs["token_type_ids"] == 0) & (inputs["input_ids"] != 2)
    labels = inputs["input_ids"].masked_fill(~is_learnt, -100)
    expected = theirs(**inputs, labels=labels)
    for use_cache in (False, True):
        found = ours(**inputs, labels=labels, use_cache=use_cache)
        same(found.logits[is_real], expected.logits[is_real])
        same(found.loss, expected.loss)
        if "pixel_values" in inputs:
            same(found.image_hidden_states, expected.image_hidden_states)
        else:
            assert "image_hidden_states" not in found


@SEEING
def test_hidden_states_and_attentions_with_images(both):
    theirs, ours = both
    inputs = seen(["a*b*"])
    asked = {"output_hidden_states": True, "output_attentions": True}
    expected, found = theirs(**inputs, **asked), ours(**inputs, **asked)
    for field in ("hidden_states", "attentions"):
        for mine, other in zip(found[field], expected[field], strict=True):
            same(mine, other)


@SEEING
def test_model_with_eyes_and_no_head(both):
    theirs, ours = both
    inputs = seen(["a*b", "*c*"])
    is_real = inputs["attention_mask"] == 1
    expected = theirs.model(**inputs)
    folder = ours.transformer.checkpoint
    for model in (ours.model, hf.AutoModel.from_pretrained(folder, dtype="float32")):
        found = model(**inputs)
        assert type(model).__name__ == type(theirs.model).__name__
        same(found.last_hidden_state[is_real], expected.last_hidden_state[is_real])
        same(found.image_hidden_states, expected.image_hidden_states)


@SEEING
def test_pixels_of_any_floats(both):
    theirs, ours = both
    inputs = seen(["a*b*"])
    inputs["pixel_values"] = inputs["pixel_values"].sin()
    same(ours(**inputs).logits, theirs(**inputs).logits)


@SEEING
def test_images_behind_past_key_values(both):
    """Text after images goes on without them, and new images may come."""
    theirs, ours = both
    inputs = seen(["a*bc*d"])
    whole, ids = theirs(**inputs).logits, inputs["input_ids"]
    first, past = (ids[0] == 98).nonzero()[0].item() + 2, None
    parts = [(0, first, slice(1)), (first, -2, slice(1, 2)), (-2, -1, None)]
    for begin, end, images in parts:
        pixels = None if images is None else inputs["pixel_values"][images]
        part = ours(ids[:, begin:end], pixel_values=pixels, past_key_values=past)
        past = part.past_key_values
        same(part.logits, whole[:, begin:end])


@SEEING
@pytest.mark.parametrize("rows", WITH_IMAGES, ids=str)
def test_greedy_answers_about_images(both, rows):
    theirs, ours = both
    inputs, options = seen(rows), {"do_sample": False, "max_new_tokens": 12}
    expected = theirs.generate(**inputs, **options).tolist()
    assert ours.generate(**inputs, **options).tolist() == expected
    if "pixel_values" in inputs:
        # As the model card has it: the levels can still be told.
        inputs["pixel_values"] = inputs["pixel_values"].to(torch.bfloat16)
    assert ours.generate(inputs, **options).tolist() == expected


@SEEING
def test_eyes_that_we_save_they_load(both, tmp_path):
    theirs, ours = both
    folder = ours.transformer.checkpoint
    same_class = hf.AutoModelForImageTextToText.from_pretrained(folder)
    assert type(same_class) is type(ours)
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.AutoModelForImageTextToText.from_pretrained(
        tmp_path / "ours", attn_implementation="eager"
    )
    assert type(again) is type(theirs)
    expected, found = theirs.state_dict(), again.state_dict()
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        if ".head." not in name:  # of the tower, which nobody asks
            torch.testing.assert_close(found[name], weight, rtol=0, atol=0)


CLASSIFIERS = [
    ("gemma1_mqa", "GemmaForSequenceClassification"),
    ("gemma2_gqa", "Gemma2ForSequenceClassification"),
    ("gemma3_mqa", "Gemma3TextForSequenceClassification"),
    ("gemma1_mqa", "GemmaForTokenClassification"),
    ("gemma2_gqa", "Gemma2ForTokenClassification"),
]


def classifiers(name, kind, tmp_path, num_labels=3):
    """Returns their classifier and ours, from the folder that they saved."""
    config = SHAPES[name]()
    config.num_labels = num_labels
    torch.manual_seed(2)
    theirs = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.3 * torch.randn(weight.shape))
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, getattr(hf, kind).from_pretrained(
        tmp_path / "theirs", dtype="float32"
    )


@pytest.mark.parametrize(("name", "kind"), CLASSIFIERS)
def test_classifiers_of_their_folders(name, kind, tmp_path):
    theirs, ours = classifiers(name, kind, tmp_path)
    is_sequence = "Sequence" in kind
    labels = torch.tensor([2, 0, 1]) if is_sequence else PADDED % 3
    if not is_sequence:
        labels[MASK == 0] = -100
    expected = theirs(PADDED, attention_mask=MASK, labels=labels)
    found = ours(PADDED, attention_mask=MASK, labels=labels)
    same(found.loss, expected.loss)
    if is_sequence:
        same(found.logits, expected.logits)
    else:
        same(found.logits[MASK == 1], expected.logits[MASK == 1])
    ours.save_pretrained(tmp_path / "ours")
    again = type(theirs).from_pretrained(tmp_path / "ours")
    assert again.config.id2label == theirs.config.id2label
    repeated = again(PADDED, attention_mask=MASK, labels=labels).loss
    torch.testing.assert_close(
        repeated, theirs(PADDED, attention_mask=MASK, labels=labels).loss
    )


@pytest.mark.parametrize(
    ("num_labels", "labels", "problem"),
    [
        (1, torch.tensor([0.5, -2.0, 1.0]), "regression"),
        (3, torch.tensor([2, 0, 1]), "single_label_classification"),
        (
            3,
            torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]]),
            "multi_label_classification",
        ),
    ],
)
def test_kinds_of_problems(num_labels, labels, problem, tmp_path):
    theirs, ours = classifiers(*CLASSIFIERS[0], tmp_path, num_labels)
    expected = theirs(PADDED, attention_mask=MASK, labels=labels).loss
    same(ours(PADDED, attention_mask=MASK, labels=labels).loss, expected)
    assert ours.config.problem_type == theirs.config.problem_type == problem


@pytest.mark.parametrize("kind", ["GemmaConfig", "Gemma2Config", "Gemma3TextConfig"])
def test_defaults_of_configs(kind):
    expected = getattr(transformers, kind)().to_dict()
    found = getattr(hf, kind)().to_dict()
    # Names of their own, and what ours write as older versions did.
    theirs_only = {"rope_parameters", "layer_types", "transformers_version"}
    for name in (found.keys() & expected.keys()) - theirs_only:
        assert found[name] == expected[name], name


PACKED = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 0, 0, 1, 2, 3, 4]])
POSITIONS = {
    "packed": PACKED,
    "one row for all": PACKED[:1],
    "later": PACKED + 7,
    "gaps": torch.tensor([[0, 2, 3, 4, 9, 10, 11, 12]]),
    "down": torch.arange(7, -1, -1)[None],
    "negative": torch.arange(-3, 5)[None],
}


@of([*SOME, "gemma3_stretched", "gemma3_multimodal"])
def test_documents_in_one_row(both):
    theirs, ours = both
    for positions in POSITIONS.values():
        options = {"position_ids": positions, "use_cache": False}
        expected = theirs(IDS, labels=IDS, **options)
        found = ours(IDS, labels=IDS, **options)
        same(found.logits, expected.logits)
        same(found.loss, expected.loss)
        options |= {"attention_mask": torch.ones_like(IDS)}
        same(ours(IDS, **options).logits, theirs(IDS, **options).logits)


@of(SOME)
def test_positions_beside_padding(both):
    theirs, ours = both
    for positions in (torch.arange(6)[None], MASK.cumsum(1) - 1, PACKED[:1, :6]):
        options = {"attention_mask": MASK, "use_cache": False}
        options |= {"position_ids": positions}
        expected = theirs(PADDED, **options).logits
        same(ours(PADDED, **options).logits[MASK == 1], expected[MASK == 1])


@of(SHAPES)
def test_weights_by_name(both):
    for theirs, ours in (both, (both[0].model, both[1].model)):
        expected = {n: w for n, w in theirs.state_dict().items() if ".head." not in n}
        found = ours.state_dict()
        assert found.keys() == expected.keys()
        for name, weight in found.items():
            assert_close(np.asarray(weight), expected[name].numpy(), law="parity")
        names = [n for n, _ in theirs.named_parameters() if ".head." not in n]
        assert sorted(n for n, _ in ours.named_parameters()) == sorted(names)
        assert sum(w.size for w in ours.train().parameters()) == ours.num_parameters()


@pytest.mark.parametrize("name", ["gemma1_mqa", "gemma2_gqa", "gemma3_multimodal"])
def test_untied_heads(name, tmp_path):
    config = SHAPES[name]()
    config.tie_word_embeddings = False
    theirs = random_model(config, seed=5)
    assert theirs.lm_head.weight is not theirs.get_input_embeddings().weight
    theirs.save_pretrained(tmp_path / "theirs")
    auto = getattr(hf, type(theirs).__name__)
    ours = auto.from_pretrained(tmp_path / "theirs", dtype=torch.float32)
    same(ours(IDS).logits, theirs(IDS).logits)
    assert ours.config.tie_word_embeddings is False
    ours.save_pretrained(tmp_path / "ours")
    again = type(theirs).from_pretrained(tmp_path / "ours")
    torch.testing.assert_close(again(IDS).logits, theirs(IDS).logits)


def test_a_head_beside_a_config_that_ties(tmp_path):
    config = SHAPES["gemma1_mqa"]()
    config.tie_word_embeddings = False
    random_model(config, seed=5).save_pretrained(tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps(stated | {"tie_word_embeddings": True})
    )
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    ours = hf.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    same(ours(IDS).logits, theirs(IDS).logits)


@of([*SOME, "gemma3_multimodal"])
@pytest.mark.parametrize("kind", ["bool", "floats"])
def test_a_mask_for_each_pair_of_tokens(both, kind):
    """Any pattern goes, on sliding layers too: the future, gaps, one mask for all rows."""
    theirs, ours = both
    generator = torch.Generator().manual_seed(4)
    may = torch.rand((2, 1, 8, 8), generator=generator) < 0.6
    may |= torch.eye(8, dtype=torch.bool)
    # Their eager attention adds masks, so only floats mean the same there.
    added = torch.zeros(may.shape).masked_fill(~may, torch.finfo(torch.float32).min)
    for rows in (slice(None), slice(0, 1)):
        mask = may[rows] if kind == "bool" else added[rows]
        expected = theirs(IDS, attention_mask=added[rows].expand(2, 1, 8, 8)).logits
        found = ours(IDS, attention_mask=mask)
        same(found.logits, expected)
        assert "past_key_values" not in found

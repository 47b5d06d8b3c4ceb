"""`gemma.hf` beside transformers: the same calls, the same numbers."""

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
        if "vision" not in name and "multi_modal" not in name
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

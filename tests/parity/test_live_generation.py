"""`generate` with what only the host can do, beside transformers."""

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
IDS = torch.tensor([[2, 9, 31, 7, 55, 12, 8, 40], [2, 44, 6, 17, 90, 3, 21, 5]])
PADDED = torch.tensor([[0, 0, 0, 2, 9, 31], [2, 44, 6, 17, 5, 8], [0, 8, 7, 6, 5, 4]])
MASK = (PADDED != 0).long()
GREEDY = {"do_sample": False, "max_new_tokens": 12}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A function from a shape to their model and ours."""
    made = {}

    def make(name, seed=11):
        if (name, seed) not in made:
            folder = tmp_path_factory.mktemp(name)
            theirs = random_model(SHAPES[name](), seed=seed)
            theirs.save_pretrained(folder)
            ours = hf.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
            made[name, seed] = theirs, ours
        return made[name, seed]

    return make


@pytest.fixture(params=["gemma1_mqa", "gemma2_gqa", "gemma3_mqa"])
def both(request, pairs):
    return pairs(request.param)


def ends_of(theirs, number=3):
    """Tokens that greedy answers come to, so that answers end at different places."""
    found = theirs.generate(IDS, **GREEDY)[:, IDS.shape[1] :]
    return found[0, 4].item(), found[1, 6].item(), 1


def same_scores(found, expected):
    """Compares scores, of which -inf must be the same ones."""
    kept = np.isfinite(expected)
    assert (np.isfinite(found) == kept).all()
    assert_close(found[kept], expected[kept], law="parity")


def agree(both, *args, **options):
    theirs, ours = both
    expected = theirs.generate(*args, **{**GREEDY, **options})
    found = ours.generate(*args, **{**GREEDY, **options})
    if not isinstance(expected, torch.Tensor):
        for name in ("scores", "logits"):
            if (wanted := expected.get(name)) is not None:
                got = getattr(found, name)
                assert len(got) == len(wanted)
                for mine, other in zip(got, wanted, strict=True):
                    same_scores(mine.numpy(), other.numpy())
        scores = expected.get("sequences_scores")
        if scores is not None:
            assert_close(found.sequences_scores.numpy(), scores.numpy(), law="parity")
        expected, found = expected.sequences, found.sequences
    assert found.tolist() == expected.tolist()


RULES = {
    "min_new_tokens": {"min_new_tokens": 8},
    "min_length": {"min_length": 14},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2, "max_new_tokens": 30},
    "unigrams": {"no_repeat_ngram_size": 1},
    "repetition_penalty": {"repetition_penalty": 1.4, "use_cache": False},
    "suppress": {"begin_suppress_tokens": [60, 61], "suppress_tokens": [3, 4]},
    "forced_eos_token_id": {"forced_eos_token_id": 7},
    "scores": {
        "output_scores": True, "output_logits": True, "no_repeat_ngram_size": 2,
        "return_dict_in_generate": True,
    },
    "plain scores": {"output_scores": True, "return_dict_in_generate": True},
    "no cache": {"use_cache": False},
    "renormalize": {
        "renormalize_logits": True, "output_scores": True, "return_dict_in_generate": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", RULES.values(), ids=RULES)
def test_rules(pairs, options):
    both = pairs("gemma3_mqa")
    agree(both, IDS, eos_token_id=list(ends_of(both[0])), **options)


@pytest.mark.parametrize("options", [RULES["min_length"], RULES["repetition_penalty"]])
def test_rules_with_padding(both, options):
    agree(both, PADDED, attention_mask=MASK, **options)


def test_words_of_several_tokens(both):
    answer = both[0].generate(IDS, **GREEDY)[0, 8:].tolist()
    agree(both, IDS, bad_words_ids=[answer[:2], answer[3:6], [9, 31, answer[0]]])
    bias = {tuple(answer[:2]): -20.0, (5,): 1.5}
    agree(both, IDS, sequence_bias=bias)
    pairs = [[list(ids), value] for ids, value in bias.items()]
    agree(both, IDS, sequence_bias=pairs)


class Doubled(transformers.LogitsProcessor):
    def __call__(self, input_ids, scores):
        scores = scores.clone()
        scores[:, input_ids[:, -1] % 7] += 3
        return scores * 2


class AtLength(transformers.StoppingCriteria):
    def __call__(self, input_ids, scores, **kwargs):
        return input_ids[:, -1] % 3 == 0


def test_functions_of_the_caller(both):
    processors = transformers.LogitsProcessorList([Doubled()])
    agree(both, IDS, logits_processor=processors)
    agree(both, IDS, logits_processor=processors, no_repeat_ngram_size=2)
    criteria = transformers.StoppingCriteriaList([AtLength()])
    agree(both, IDS, stopping_criteria=criteria, pad_token_id=0)

    def allowed(row, ids):
        return [3 + row, 5, 7 + ids.shape[-1]]

    agree(both, IDS, prefix_allowed_tokens_fn=allowed)


BEAMS = {
    "two": {"num_beams": 2},
    "four, all returned": {"num_beams": 4, "num_return_sequences": 4},
    "short": {"num_beams": 3, "length_penalty": -1.0},
    "long": {"num_beams": 3, "length_penalty": 2.0, "num_return_sequences": 2},
    "early": {"num_beams": 3, "early_stopping": True, "num_return_sequences": 3},
    "never": {"num_beams": 3, "early_stopping": "never", "length_penalty": 1.5},
    "scores": {
        "num_beams": 3, "output_scores": True, "output_logits": True,
        "return_dict_in_generate": True, "num_return_sequences": 2,
    },
    "rules": {"num_beams": 3, "no_repeat_ngram_size": 2, "min_new_tokens": 6},
    "no cache": {"num_beams": 2, "use_cache": False},
}  # fmt: skip


@pytest.mark.parametrize("options", BEAMS.values(), ids=BEAMS)
def test_beams(pairs, options):
    both = pairs("gemma2_gqa")
    for ends in (list(ends_of(both[0])), 1):
        agree(both, IDS, eos_token_id=ends, **options)


@pytest.mark.parametrize("name", ["gemma1_mqa", "gemma3_mqa"])
def test_beams_of_other_models(pairs, name):
    """Many ends: nearly a tenth of the vocabulary."""
    both = pairs(name, 5)
    for early in (False, True, "never"):
        options = {"num_beams": 3, "early_stopping": early, "num_return_sequences": 3}
        agree(both, IDS, eos_token_id=[1, *range(90, 98)], **options)
    agree(both, PADDED, attention_mask=MASK, num_beams=4)


def test_going_on_from_a_cache(both):
    theirs, ours = both
    asked = {"return_dict_in_generate": True, **GREEDY}
    first = ours.generate(IDS[:1], past_key_values=hf.DynamicCache(), **asked)
    assert first.past_key_values.get_seq_length() == first.sequences.shape[1] - 1
    longer = torch.cat([first.sequences, torch.tensor([[33, 9]])], dim=1)
    found = ours.generate(longer, past_key_values=first.past_key_values, **GREEDY)
    assert found.tolist() == theirs.generate(longer, **GREEDY).tolist()
    again = ours.generate(longer, cache=hf.DynamicCache(), **GREEDY)
    assert again.tolist() == found.tolist()


def test_vectors_of_prompts(both):
    theirs, ours = both
    vectors = theirs.get_input_embeddings()(IDS).detach()
    expected = theirs.generate(inputs_embeds=vectors, **GREEDY)
    found = ours.generate(inputs_embeds=vectors, **GREEDY)
    assert found.tolist() == expected.tolist()
    expected = theirs.generate(IDS, inputs_embeds=vectors, **GREEDY)
    found = ours.generate(IDS, inputs_embeds=vectors, **GREEDY)
    assert found.tolist() == expected.tolist()
    options = {"min_length": 14, "max_length": 15, "do_sample": False}
    expected = theirs.generate(inputs_embeds=vectors, **options)
    assert ours.generate(inputs_embeds=vectors, **options).tolist() == expected.tolist()


def test_reading_ahead_changes_nothing(both, pairs):
    theirs, ours = both
    prompt = torch.tensor([[2, 9, 31, 7, 9, 31, 7, 9, 31]])
    options = {"do_sample": False, "max_new_tokens": 40}
    expected = theirs.generate(prompt, **options).tolist()
    found = ours.generate(prompt, prompt_lookup_num_tokens=3, **options)
    assert found.tolist() == expected
    for assistant in (ours, pairs("gemma1_mqa", 3)[1]):
        options |= {"num_assistant_tokens": 4}
        found = ours.generate(prompt, assistant_model=assistant, **options)
        assert found.tolist() == expected
    rules = {"no_repeat_ngram_size": 3, **options}
    found = ours.generate(prompt, prompt_lookup_num_tokens=3, **rules)
    rules.pop("num_assistant_tokens")
    expected = theirs.generate(prompt, **rules)
    assert found.tolist() == expected.tolist()


WARPERS = {
    "temperature": {"temperature": 0.6},
    "top_k": {"top_k": 5},
    "top_p": {"top_p": 0.7},
    "min_p": {"min_p": 0.3},
    "all": {"temperature": 1.7, "top_k": 20, "top_p": 0.9, "min_p": 0.05},
}


@pytest.mark.parametrize("options", WARPERS.values(), ids=WARPERS)
def test_what_is_drawn_from(pairs, options):
    theirs, ours = pairs("gemma2_gqa")
    asked = {
        "do_sample": True, "max_new_tokens": 1, "output_scores": True,
        "return_dict_in_generate": True, **options,
    }  # fmt: skip
    expected = theirs.generate(IDS, **asked).scores[0].numpy()
    found = ours.generate(IDS, **asked).scores[0].numpy()
    same_scores(found, expected)

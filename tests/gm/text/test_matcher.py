"""Whatever allowed tokens are taken, the answer matches and ends in time."""

import json
import re
import threading

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from gemma.gm.text.constraints._constraint import (
    Constraint,
    ConstraintError,
    completing_grammar,
)

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("llguidance")

from gemma.gm.text.constraints._endings import EndingSearch, ends_with, next_tokens  # noqa: E402
from gemma.gm.text.constraints._matcher import Grammars, Matcher  # noqa: E402
from gemma.gm.text.constraints._token_texts import TokenTexts, ids_of  # noqa: E402

# Names that differ little, that need escapes, and that are more than one way to see them.
NAMES = (
    "a",
    "ab",
    "abc",
    "name",
    'k"q',
    "z\\z",
    "new\nline",
    "é",
    "e\u0301",
    "日本",
    "👩‍🚀",
)
PATTERNS = (
    "^[A-Z]{2,4}$", r"^\d{3}-\d{4}$", "[a-c]x", "^(foo|bar)+$", "^.{3,6}$", r"^[^\d]*$",
    "^é+$", r"\S", "^$", "^(a|b)*c$",
)  # fmt: skip
FORMATS = (
    "date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6",
    "uuid", "uri",
)  # fmt: skip
TREE = {
    "type": "object",
    "properties": {
        "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
        "value": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
    },
    "required": ["value", "next"],
    "additionalProperties": False,
}

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1_000, 1_000)
    | st.sampled_from([0.5, -2.25, 1e-7, 123456.789])
    | st.sampled_from(["", "abc", 'say "é👩"\n', "\\"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)
    ),
    max_leaves=4,
)


def maybe(**keywords):
    """Draws an object with some of the keywords."""
    return st.fixed_dictionaries({}, optional=keywords)


def joined(*parts):
    return st.tuples(*parts).map(
        lambda dicts: {k: v for d in dicts for k, v in d.items()}
    )


@st.composite
def numbers(draw):
    kind = draw(st.sampled_from(["integer", "number"]))
    lower = draw(st.sampled_from([0, 1, -5, 100, 0.5, -0.25, 1e6, 12345.678]))
    upper = lower + draw(st.sampled_from([10, 25.5, 1000.25, 1e9]))
    lowers = maybe(minimum=st.just(lower)) | maybe(exclusiveMinimum=st.just(lower))
    uppers = maybe(maximum=st.just(upper)) | maybe(exclusiveMaximum=st.just(upper))
    # Halves, which floats divide without a rest.
    steps = maybe(multipleOf=st.sampled_from([2, 3, 7] if kind == "integer" else [0.5]))
    return draw(joined(lowers, uppers, steps)) | {"type": kind}


@st.composite
def strings(draw):
    shortest = draw(st.integers(0, 9))
    longest = shortest + draw(st.integers(0, 20))
    lengths = maybe(minLength=st.just(shortest), maxLength=st.just(longest))
    patterns = st.fixed_dictionaries({"pattern": st.sampled_from(PATTERNS)})
    formats = st.fixed_dictionaries({"format": st.sampled_from(FORMATS)})
    return draw(lengths | lengths | patterns | formats) | {"type": "string"}


@st.composite
def arrays(draw, inner):
    fewest = draw(st.integers(0, 3))
    most = fewest + draw(st.integers(0, 3))
    counts = maybe(minItems=st.just(fewest), maxItems=st.just(most))
    items = maybe(items=inner, prefixItems=st.lists(inner, min_size=1, max_size=2))
    return draw(joined(counts, items)) | {"type": "array"}


@st.composite
def objects(draw, inner):
    properties = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    others = maybe(additionalProperties=st.booleans() | inner)
    return draw(others) | {
        "type": "object",
        "properties": properties,
        "required": required,
    }


@st.composite
def unions(draw, inner):
    """Draws objects that differ by a property, or by hardly anything."""
    tags = st.sampled_from([{"const": "k0"}, {"const": "k1"}, {"type": "string"}])
    options = []
    for _ in range(draw(st.integers(2, 3))):
        one = draw(objects(inner))
        one["properties"] = {"tag": draw(tags), **one["properties"]}
        options.append(one | {"required": ["tag", *one["required"]]})
    return {"anyOf": options}


texts = st.lists(
    strings()
    | st.sampled_from([{"const": "abc"}, {"enum": ["a", "abcd", 'x"']}, True]),
    min_size=1,
    max_size=3,
).map(lambda options: {"anyOf": options})

schemas = st.recursive(
    st.one_of(
        numbers(),
        strings(),
        texts,
        st.builds(lambda v: {"const": v}, values),
        st.lists(values, min_size=1, max_size=4).map(lambda found: {"enum": found}),
        st.sampled_from([{"type": "null"}, {"type": "boolean"}, {}, True]),
        st.just({"$ref": "#/$defs/tree"}),
    ),
    lambda inner: st.one_of(
        objects(inner),
        arrays(inner),
        unions(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found}),
        inner.map(
            lambda one: {"oneOf": [{"type": "null"}, {"type": "array", "items": one}]}
        ),
        st.tuples(objects(inner), objects(inner)).map(lambda both: {"allOf": [*both]}),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def tiny(tiny_tokenizer):
    return Grammars(tiny_tokenizer, vocab_size=tiny_tokenizer.vocab_size + 40)


@pytest.fixture(scope="module")
def embedded(embedded_tokenizer):
    return Grammars(embedded_tokenizer, vocab_size=embedded_tokenizer.vocab_size)


def bits_of(words):
    return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))


def shortest(grammars, constraint):
    """Returns how many tokens the shortest answer takes, as the message says."""
    try:
        grammars.start(constraint, max_tokens=1)
    except ConstraintError as error:
        found = re.search(r"takes (\d+) tokens", str(error))
        if not found:
            raise
        return int(found[1])
    return 1


def answer(grammars, constraint, num_tokens, seed, likes=lambda text: True):
    """Takes random allowed tokens, those that it likes if there are any, to the end."""
    rng, ids = np.random.default_rng(seed), []
    matcher, tokenizer = (
        grammars.start(constraint, max_tokens=num_tokens),
        grammars._tokenizer,
    )
    while True:
        allowed = bits_of(matcher.allowed)
        # A text of its own for each: np.random.choice over many texts would be slow.
        some = rng.choice(allowed, 16)
        liked = [i for i in some.tolist() if i not in tokenizer.stop_ids and likes(i)]
        token_id = int((liked or some)[0])
        matcher.accept(token_id)
        ids.append(token_id)
        if token_id in tokenizer.stop_ids:
            break
    assert len(ids) <= num_tokens
    assert matcher.is_finished
    return tokenizer.decode(ids[:-1])


def answer_json(grammars, schema, slack, seed, **options):
    constraint = Constraint.json_schema(schema)
    num_tokens = shortest(grammars, constraint) + slack
    return json.loads(answer(grammars, constraint, num_tokens, seed, **options))


def never_ends(grammars):
    """Returns what a model likes that does not close its strings."""
    tokenizer = grammars._tokenizer
    return lambda i: (
        len(tokenizer.token_bytes(i)) > 1 and b'"' not in tokenizer.token_bytes(i)
    )


def check_schema(grammars, schema, slack, seed, is_endless):
    if isinstance(schema, dict):
        schema = schema | {"$defs": {"tree": TREE}}
    likes = {"likes": never_ends(grammars)} if is_endless else {}
    try:
        found = answer_json(grammars, schema, slack, seed, **likes)
    except ConstraintError:
        # Two schemas may contradict each other, or go round in circles.
        if "allOf" not in json.dumps(schema):
            raise
        reject()
    jsonschema.Draft202012Validator(schema).validate(found)


slacks = st.sampled_from([0, 0, 1, 2, 5, 20, 60])
seeds = st.integers(0, 2**32)


@pytest.mark.slow
@settings(max_examples=1_000)
@given(schema=schemas, slack=slacks, seed=seeds, is_endless=st.booleans())
def test_answers_match_any_schema(tiny, schema, slack, seed, is_endless):
    check_schema(tiny, schema, slack, seed, is_endless)


@pytest.mark.embedded
@pytest.mark.slow
@settings(max_examples=100)
@given(schema=schemas, slack=slacks, seed=seeds, is_endless=st.booleans())
def test_answers_in_the_real_vocabulary(embedded, schema, slack, seed, is_endless):
    check_schema(embedded, schema, slack, seed, is_endless)


@pytest.mark.slow
@settings(max_examples=200)
@given(
    pattern=st.sampled_from(
        [
            r"\d{4}-\d{2}-\d{2}", r"[a-z]{3,9}@[a-z]{3,9}\.com", "Answer: .*", "(ab|cd)*ef",
            "[^\n]{5,}", r"\w+ \w+", "(\\s|x)*y", "a{3,}b?", "[一-龥]{2,}", ".{1,200}", "é*x",
            "(a|b)*a(a|b){12}", "(a+)+b", "((a{0,5}b){0,5}c){2,5}", '"[^"]*"', r"</\w+>\\n",
            "abc|d", "(?i:hello)", "(?s:.*)END", r"[^\w\s]+", "a[^\\d\\D]|b", "👩?🚀",
        ]
    ),
    slack=st.sampled_from([0, 1, 2, 5, 30, 100]),
    seed=seeds,
)  # fmt: skip
def test_answers_match_an_expression(tiny, pattern, slack, seed):
    constraint = Constraint.regex(pattern)
    num_tokens = shortest(tiny, constraint) + slack
    found = answer(tiny, constraint, num_tokens, seed, likes=lambda i: seed % 2)
    assert re.fullmatch(pattern, found, re.ASCII)


@given(
    options=st.lists(
        st.text(max_size=6)
        | st.sampled_from(
            ["a", "ab", "abc", "👩", "👩‍🚀", "e", "e\u0301", "é", "", "▁", " "]
        ),
        min_size=1,
        max_size=6,
        unique=True,
    ).filter(any),
    slack=st.integers(0, 20),
    seed=seeds,
)
def test_answers_are_one_of_the_options(tiny, options, slack, seed):
    constraint = Constraint.choice(options)
    num_tokens = shortest(tiny, constraint) + slack
    assert answer(tiny, constraint, num_tokens, seed) in options


def test_every_option_can_be_chosen(tiny, tiny_tokenizer):
    options = ["a", "ab", "abc", "b", "", "👩", "👩‍🚀", "e\u0301", "é"]
    for option in options:
        matcher = tiny.start(Constraint.choice(options), max_tokens=40)
        for token_id in tiny_tokenizer.encode(option, control_tokens=False):
            matcher.accept(token_id)
        assert matcher.may_end


@pytest.fixture(params=["tiny", pytest.param("embedded", marks=pytest.mark.embedded)])
def tokenizer(request):
    return request.getfixturevalue(f"{request.param}_tokenizer")


@pytest.mark.slow
def test_texts_of_tokens_are_what_decode_adds(tokenizer):
    """A leading space included; bytes are read with those around them."""
    found = TokenTexts(tokenizer, tokenizer.vocab_size).texts
    letter = tokenizer.id("a")
    assert tokenizer.decode([letter]) == "a"
    for token_id, text in enumerate(found):
        if tokenizer.is_byte(token_id):
            assert text == bytes.fromhex(tokenizer.piece(token_id)[3:5])
        elif tokenizer.is_control(token_id):
            assert text == b""
        else:
            assert tokenizer.decode([token_id]).encode() == text
            assert tokenizer.decode([letter, token_id]).encode() == b"a" + text


def test_byte_tokens_make_characters(tokenizer):
    found = TokenTexts(tokenizer, tokenizer.vocab_size)
    ids = found.spell_bytes("a€👩".encode())
    assert tokenizer.decode(ids) == "a€👩"


@given(text=st.text(), cut=st.integers(0, 3))
def test_spelled_tokens_write_the_text(tiny_tokenizer, text, cut):
    found = TokenTexts(tiny_tokenizer, tiny_tokenizer.vocab_size)
    begun = "👩▁".encode()[cut:] + text.encode()
    assert b"".join(found.texts[i] for i in found.spell(begun)) == begun


def test_sets_of_tokens(tiny_tokenizer):
    found = TokenTexts(tiny_tokenizer, tiny_tokenizer.vocab_size + 100)
    ids = [0, 31, 32, 63, 64, tiny_tokenizer.vocab_size - 1]
    assert ids_of(found.bits(ids)) == ids
    assert ids_of(found.bits([])) == []


def test_tokens_without_text_never_come(tiny, tiny_tokenizer):
    """Control tokens but for the ends, and rows of the embedding beyond the tokenizer."""
    matcher = tiny.start(Constraint.regex("(?s:.*)"), max_tokens=100)
    assert matcher.allowed.dtype == np.uint32
    assert len(matcher.allowed) == -(-(tiny_tokenizer.vocab_size + 40) // 32)
    allowed = set(bits_of(matcher.allowed).tolist())
    control = {
        i for i in range(tiny_tokenizer.vocab_size) if tiny_tokenizer.is_control(i)
    }
    assert allowed & control == set(tiny_tokenizer.stop_ids)
    assert max(allowed) < tiny_tokenizer.vocab_size


def test_names_of_control_tokens_are_spelled_out(tiny, tiny_tokenizer):
    constraint = Constraint.choice(["<end_of_turn>"])
    assert answer(tiny, constraint, 20, seed=0) == "<end_of_turn>"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"type": "string", "minLength": 2, "maxLength": 500},
        {"anyOf": [{"const": "abc"}, {"type": "string", "minLength": 1}]},
        {
            "properties": {"z": {"pattern": "^z$"}, "a": {"type": "string"}},
            "required": ["a"],
        },
    ],
)
def test_all_that_a_free_string_may_hold_is_offered(tiny, tiny_tokenizer, schema):
    matcher = tiny.start(Constraint.json_schema(schema), max_tokens=200)
    begun = '"ab' if "properties" not in schema else '{"a":"ab'
    for token_id in tiny_tokenizer.encode(begun):
        matcher.accept(token_id)
    for token_id, text in enumerate(tiny._vocabulary()[0].texts):
        if text and not set(text) & {*b'"\\', *range(32), 127, *range(0x80, 0xC2)}:
            is_whole = text.decode(errors="ignore").encode() == text
            if is_whole or text[0] < 0xF5:
                assert matcher.allowed[token_id >> 5] >> (token_id & 31) & 1, text


def test_text_with_a_token_to_spare_is_not_cut(tiny, tiny_tokenizer):
    """A string may go on as long as there is room for its end."""
    matcher = tiny.start(Constraint.json_schema({"type": "string"}), max_tokens=20)
    matcher.accept(tiny_tokenizer.id('"'))
    while not matcher.may_end:
        texts = {
            i: tiny_tokenizer.token_bytes(i) for i in bits_of(matcher.allowed).tolist()
        }
        letters = [i for i, text in texts.items() if text.isalpha()]
        matcher.accept(letters[0] if letters else tiny_tokenizer.id('"'))
    assert matcher.num_left == 1


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"required": ["a"], "type": "object", "additionalProperties": False},
        {"enum": []},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"type": "array", "minItems": 1, "items": False},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "pattern": "^aaaa$", "maxLength": 2},
        {"type": "string", "pattern": "⁂"},
        {"type": "integer", "minimum": 1, "maximum": 2, "multipleOf": 5},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
        },
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    ],
    ids=json.dumps,
)
def test_impossible_schema_is_refused(tiny, schema):
    with pytest.raises(ConstraintError, match=r"Nothing matches|No answer was found"):
        tiny.start(Constraint.json_schema(schema), max_tokens=1_000)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "string", "format": "password"}, "the format 'password'"),
        ({"oneOf": [{"type": "string"}, {"minLength": 3}]}, "'oneOf'"),
        ({"type": "strng"}, "Invalid type: strng"),
        ({"type": "string", "pattern": "(?=a)"}, "look-around"),
        ({"type": "string", "pattern": "^(a"}, "unclosed group"),
        ({"patternProperties": {"^a": {}, "^ab": {}}}, "not disjoint"),
        ({"type": "number", "multipleOf": 0}, "invalid multiple of"),
        ({"items": 5}, "schema must be an object or boolean"),
    ],
)
def test_what_llguidance_does_not_take_is_named(tiny, schema, says):
    with pytest.raises(ConstraintError, match=re.escape(says)) as caught:
        tiny.start(Constraint.json_schema(schema), max_tokens=100)
    assert "\n" not in str(caught.value)


def test_unsupported_keyword_is_refused_by_name(tiny):
    with pytest.raises(ConstraintError, match="'uniqueItems'"):
        tiny.start(Constraint.json_schema({"uniqueItems": True}), max_tokens=100)


@pytest.mark.parametrize("pattern", [r"[^\s\S]", "a{2}{3}{", r"\p{Nonsense}", r"a\b"])
def test_expression_that_llguidance_does_not_take_is_refused(tiny, pattern):
    with pytest.raises(ConstraintError, match="pattern"):
        tiny.start(Constraint.regex(pattern), max_tokens=100)


def test_answer_that_cannot_be_short_enough_is_refused(tiny):
    schema = {"type": "array", "minItems": 20, "items": {"type": "null"}}
    needed = shortest(tiny, Constraint.json_schema(schema))
    assert needed > 20
    says = f"takes {needed} tokens.*max_tokens is {needed - 1}"
    with pytest.raises(ConstraintError, match=says):
        tiny.start(Constraint.json_schema(schema), max_tokens=needed - 1)
    assert answer_json(tiny, schema, 0, seed=0) == [None] * 20


def test_shortest_option_counts(tiny, tiny_tokenizer):
    options = ["z" * 40, "the", "q" * 20]
    needed = len(tiny_tokenizer.encode("the")) + 1
    assert shortest(tiny, Constraint.choice(options)) == needed


def test_long_answer_that_is_short_as_can_be(tiny):
    names = [f"property {i}" for i in range(60)]
    properties = {name: {"enum": ["b", "a long one"]} for name in names}
    schema = {"type": "object", "properties": properties, "required": names}
    assert answer_json(tiny, schema, 0, seed=0).keys() >= set(names)


@pytest.mark.parametrize("options", [["a" * 40, "b"], ["b", "a" * 40], ["b", 10**15]])
def test_shortest_value_of_an_enum_counts(tiny, options):
    assert shortest(tiny, Constraint.json_schema({"enum": options})) == 4


def test_no_tokens_at_all_are_refused(tiny):
    with pytest.raises(ValueError, match="max_tokens is 0"):
        tiny.start(Constraint.choice(["a"]), max_tokens=0)


def test_embedding_with_too_few_rows_is_refused(tiny_tokenizer):
    with pytest.raises(ValueError, match="embedding has 479 rows"):
        Grammars(tiny_tokenizer, vocab_size=tiny_tokenizer.vocab_size - 1)


def test_token_that_is_not_allowed_is_refused(tiny, tiny_tokenizer):
    matcher = tiny.start(Constraint.choice(["ab", "cd"]), max_tokens=10)
    matcher.accept(tiny_tokenizer.id("a"))
    for token_id in (tiny_tokenizer.id("a"), tiny_tokenizer.eos_id, -1, 10**6, 0):
        with pytest.raises(ValueError, match="may not come next"):
            matcher.accept(token_id)
    matcher.accept(tiny_tokenizer.id("b"))
    assert (matcher.may_end, matcher.is_finished, matcher.num_left) == (True, True, 8)


@pytest.mark.parametrize("place", [0, 1])
def test_any_ending_token_ends(tiny, tiny_tokenizer, place):
    matcher = tiny.start(Constraint.regex("a*"), max_tokens=10)
    assert len(tiny_tokenizer.stop_ids) == 2
    assert matcher.may_end
    assert not matcher.is_finished
    matcher.accept(tiny_tokenizer.stop_ids[place])
    assert matcher.is_finished
    assert not matcher.may_end
    assert not matcher.allowed.any()
    with pytest.raises(ValueError, match="may not come next"):
        matcher.accept(tiny_tokenizer.stop_ids[place])


def test_allowed_tokens_cannot_be_changed(tiny):
    matcher = tiny.start(Constraint.choice(["a"]), max_tokens=3)
    with pytest.raises(ValueError, match="read-only"):
        matcher.allowed[0] = 0


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ('{"a":1,"b":[1,2]}', True),
        ('{"a": 1, "b": [1, 2]}', True),
        ('{"a":  1,"b":[]}', False),
        ('{ "a":1,"b":[]}', False),
        ('{"a":1 ,"b":[]}', False),
        ('{"a":1,\n"b":[]}', False),
        (' {"a":1,"b":[]}', False),
        ('{"a":1,"b":[]} ', False),
    ],
)
def test_blanks_are_single_spaces_after_commas_and_colons(tiny, text, is_right):
    schema = {"properties": {"a": True, "b": True}, "required": ["a", "b"]}
    constraint = Constraint.json_schema(schema | {"type": "object"})
    found, engines = tiny._vocabulary()
    engine = engines.start(constraint.grammar().text)
    assert ends_with(engine, found, text.encode()) == is_right


@pytest.mark.parametrize(
    "text", [r'{"\u006eame":"x"}', '{"name":"x"}', r'{"nam\u0065":""}']
)
def test_name_that_is_taken_has_no_second_spelling(tiny, text):
    """It would be another value of the property."""
    schema = {
        "type": "object",
        "properties": {"name": {"type": "integer"}},
        "additionalProperties": {"type": "string"},
    }
    found, engines = tiny._vocabulary()
    engine = engines.start(Constraint.json_schema(schema).grammar().text)
    assert ends_with(engine, found, b'{"name":1,"names":"x"}')
    assert not ends_with(engine, found, text.encode())


def test_names_that_are_nearly_taken(tiny, tiny_tokenizer):
    """A token that makes the name of another property has no ending where it stands."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "ab": {"type": "integer"}},
        "additionalProperties": {"type": "string"},
    }
    for text in ('{"a', '{"ab', '{"abc'):
        for slack in range(8):
            constraint = Constraint.json_schema(schema)
            matcher = tiny.start(
                constraint, max_tokens=shortest(tiny, constraint) + slack
            )
            for letter in text:
                token_id = tiny_tokenizer.id(letter)
                if matcher.allowed[token_id >> 5] >> (token_id & 31) & 1:
                    matcher.accept(token_id)
            while not matcher.is_finished:
                matcher.accept(int(bits_of(matcher.allowed)[-1]))


@given(seed=seeds, num_tokens=st.integers(12, 60))
def test_digits_without_end_stay_within_bounds(tiny, tiny_tokenizer, seed, num_tokens):
    """0.99999999999999999999 is below 1, and would be read as 1."""
    schema = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    nines = {tiny_tokenizer.id(letter) for letter in "9."}
    constraint = Constraint.json_schema(schema)
    found = float(answer(tiny, constraint, num_tokens, seed, likes=nines.__contains__))
    assert 0 < found < 1


class ForgetfulEngine:
    """An engine that gives up after so many looks at what may come next."""

    def __init__(self, engine, num_looks):
        self._engine, self._num_looks = engine, num_looks

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def is_error(self):
        self._num_looks -= 1
        return self._num_looks < 0


@pytest.mark.parametrize("num_looks", range(8))
def test_answer_ends_well_when_llguidance_gives_up(tiny, tiny_tokenizer, num_looks):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
    }
    grammar = Constraint.json_schema(schema).grammar()
    found, engines = tiny._vocabulary()
    engine = ForgetfulEngine(engines.start(grammar.text), num_looks)
    matcher = Matcher(engine, found, grammar, b'{"a":""}', 30, lambda text: None)
    text = b""
    while not matcher.is_finished:
        token_id = int(bits_of(matcher.allowed)[0])
        matcher.accept(token_id)
        text += found.texts[token_id]
    jsonschema.validate(json.loads(text), schema)


@given(
    pattern=st.sampled_from(
        ["(ab){3}c|d", "a{0,9}(b|cc){4}", "[^x]*x{2}é", "(a|b)*a(a|b){5}", "((x{2}y){2}z)*!"]
    ),
    num_tokens=st.integers(0, 12),
    seed=seeds,
)  # fmt: skip
def test_what_a_match_lacks_is_bounded(tiny, pattern, num_tokens, seed):
    """So an ending is found even where a search would get lost."""
    constraint, rng = Constraint.regex(pattern), np.random.default_rng(seed)
    grammar, (found, engines) = constraint.grammar(), tiny._vocabulary()
    engine, text = engines.start(grammar.text), b""
    for _ in range(num_tokens):
        allowed = [i for i in ids_of(next_tokens(engine, found)) if found.texts[i]]
        if allowed:
            token_id = int(rng.choice(allowed))
            text += found.texts[token_id]
            assert engine.consume_token(token_id)
    whole = text.decode(errors="ignore")
    limited = engines.start(
        completing_grammar(pattern, whole, grammar.most_missing + 1)
    )
    assert limited.consume_tokens(found.spell_bytes(text))
    ending = EndingSearch(found, (), 5_000).find(limited)
    assert ending is not None
    assert len((text + ending).decode()) <= len(whole) + grammar.most_missing + 1
    assert re.fullmatch(pattern, (text + ending).decode())


def test_threads_share_grammars(tiny_tokenizer):
    """The vocabulary is read once, however many ask for it first."""
    grammars, found = Grammars(tiny_tokenizer, vocab_size=tiny_tokenizer.vocab_size), []

    def ask(seed):
        found.append(answer_json(grammars, {"type": "array"}, 20, seed))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(isinstance(one, list) for one in found)

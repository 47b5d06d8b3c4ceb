"""llguidance, the library that knows which tokens may come next: all that is said to it."""

import re

from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text.constraints._constraint import Constraint, ConstraintError
from gemma.gm.text.constraints._token_texts import TokenTexts

try:
    import llguidance
except ImportError as error:
    raise ImportError(
        "The package llguidance is missing, which constrained answers need."
        " pip install 'gemma-jax[constrained]'"
    ) from error

# Tokens that most strings allow all at once. Two sets take a third of a second less to
# make than the four that are usual, and no longer to use.
_SLICES = [r'[^"\\\x00-\x1F\x7F]{1,10}', r'[^"\\\x00-\x1F\x7F]{1,30}']
# An object with 1,000 properties takes 4,000 items.
_LIMITS = llguidance.LLParserLimits(max_items_in_row=5_000, verbose_errors=False)
_NAMES = {"json_schema": "JSON schema", "regex": "pattern", "choice": "choice"}


class EngineFactory:
    """Starts engines for the tokens of a tokenizer; threads may share it."""

    def __init__(self, tokenizer: Tokenizer, texts: TokenTexts):
        """Puts the tokens into a tree, which takes most of a second."""
        vocabulary = llguidance.TokenizerWrapper(_Vocabulary(tokenizer, texts))
        stop_ids = list(texts.stop_ids)
        self._tokenizer = llguidance.LLTokenizer(
            vocabulary, eos_token=stop_ids, slices=_SLICES
        )

    def start(self, grammar: str) -> llguidance.LLMatcher:
        """Returns the state before the first token; it may be one of error."""
        return llguidance.LLMatcher(
            self._tokenizer, grammar, log_level=0, limits=_LIMITS
        )


class _Vocabulary:
    """A tokenizer as `llguidance.TokenizerWrapper` wants it."""

    # A token without bytes never comes next, so control tokens need no mention.
    special_token_ids = ()

    def __init__(self, tokenizer: Tokenizer, texts: TokenTexts):
        self.eos_token_id, self.bos_token_id = tokenizer.eos_id, tokenizer.bos_id
        self.tokens, self._texts = texts.texts, texts

    def __call__(self, text: bytes) -> list[int]:
        return self._texts.spell(text)


def refusal(constraint: Constraint, message: str) -> ConstraintError:
    """Returns what llguidance has against a constraint, for a person."""
    name, reason = _NAMES[constraint.kind], _reason(message)
    if not reason or "NoExtension" in reason:
        return ConstraintError(f"Nothing matches the {name}.")
    if found := re.match(r"Unsatisfiable schema: (.*)", reason, re.DOTALL):
        return ConstraintError(f"Nothing matches the {name}: {found[1]}.")
    if found := re.match(r"Unknown format: (.*)", reason):
        return ConstraintError(
            f"The {name} uses the format {found[1]!r}, which constrained answers do not"
            " know. Leave it out, or say with 'pattern' what it looks like."
        )
    if reason.startswith("oneOf"):
        return ConstraintError(
            f"The {name} uses 'oneOf' for schemas that may match the same values, which"
            " constrained answers do not support. Use 'anyOf', or different types."
        )
    return ConstraintError(f"The {name} is not supported: {reason}.")


def _reason(message: str) -> str:
    """Returns the reason in an error message, without the grammar it is about."""
    # Expressions are shown with a caret below, and the reason after it.
    if found := re.search(r"^error: (.*)", message, re.MULTILINE):
        return found[1]
    message = re.split(r"\n +1 \||\n<non-verbose", message)[0]
    prefix = r"at \d+\(\d+\): |failed to compile JSON schema: "
    return re.sub(prefix, "", message).strip()

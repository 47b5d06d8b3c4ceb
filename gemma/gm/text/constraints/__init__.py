"""What an answer must match, and which tokens may come next so that it does."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.text.constraints._constraint import Constraint, ConstraintError

if TYPE_CHECKING:
    from gemma.gm.text.constraints._matcher import Grammars, Matcher

__getattr__ = lazily(__name__, {"Grammars": "_matcher", "Matcher": "_matcher"})

__all__ = ["Constraint", "ConstraintError", "Grammars", "Matcher"]

"""Conversations that are longer than the cache."""

from collections.abc import Callable, Sequence

from gemma.gm.dialog import Turn


def fit_turns(
    turns: Sequence[Turn],
    count_tokens: Callable[[Sequence[Turn]], int],
    *,
    cache_length: int,
    drop_oldest: bool,
) -> list[Turn]:
    """Returns the turns that fit the cache with an answer.

    Room for one token of the answer is enough. Where turns are dropped, a quarter of the
    cache becomes free, however short the answer is to be: after a drop the whole
    conversation is computed again, so it must not be needed in each turn.

    Args:
      turns: The conversation.
      count_tokens: Returns the tokens of turns, those of the system prompt included.
      cache_length: The most tokens of the conversation and its answer together.
      drop_oldest: Whether the oldest turns may be dropped, a question with its answer.

    Raises:
      ValueError: They do not fit, and none may be dropped.
    """
    num_tokens, kept = count_tokens(turns), list(turns)
    if num_tokens < cache_length:
        return kept
    if not drop_oldest:
        raise ValueError(
            f"The conversation has {num_tokens:,} tokens with this turn, but the cache "
            f"holds {cache_length:,} with the answer. Pass a larger cache_length or "
            "drop_oldest=True, or call reset()."
        )
    wanted = cache_length // 4
    while num_tokens + wanted > cache_length and len(kept) > 1:
        kept = kept[2:]
        num_tokens = count_tokens(kept)
    return kept

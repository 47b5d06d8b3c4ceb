"""Beam search on the host, with the results of transformers.

Axes: B prompts, N beams, L length, V vocabulary.
"""

import dataclasses

import numpy as np

from gemma.hf._host_loop import HostAnswers, HostRequest, Kept
from gemma.hf._logits_processors import log_softmax
from gemma.hf._steps import Steps

# What transformers gives to beams that are none.
_NEVER = np.float32(-1e9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamSettings:
    """How beams are searched.

    Attributes:
      num_beams: N.
      num_returned: Answers to each prompt.
      length_penalty: The power of the length that the score of an answer is divided by.
      early_stopping: True to end with the first N answers; False where no running beam
        is better by its present length; "never" where none can become better.
    """

    num_beams: int
    num_returned: int
    length_penalty: float
    early_stopping: bool | str


class _Prompt:
    """The beams of one prompt: those that run, and the best that have ended."""

    def __init__(self, ids: np.ndarray, settings: BeamSettings, room: int):
        N = settings.num_beams
        self.running = np.repeat(ids[None], N, axis=0)
        # All beams are equal at first: only one of them counts.
        self.scores = np.full(N, _NEVER, np.float32)
        self.scores[0] = 0
        self.ended: list[tuple[np.float32, np.ndarray]] = []
        self.can_improve = True
        self._settings, self._length, self._room = settings, len(ids), room

    def continuations(
        self, log_probs: np.ndarray, number: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the best scores, their beams, and the ids with their tokens."""
        scores = (log_probs + self.scores[:, None]).reshape(-1)
        best = np.argsort(-scores, kind="stable")[:number]
        beams, tokens = np.divmod(best, log_probs.shape[1])
        ids = np.concatenate([self.running[beams], tokens[:, None]], axis=1)
        return scores[best], beams, ids

    def take(
        self, scores: np.ndarray, beams: np.ndarray, ids: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """Takes continuations, best first; returns the beams that go on."""
        N = self._settings.num_beams
        num_new = ids.shape[1] - self._length
        self._take_ended(scores[:N], ids[:N], ends[:N], num_new)
        running = scores + np.where(ends, _NEVER, np.float32(0))
        best = np.argsort(-running, kind="stable")[:N]
        self.running, self.scores = ids[best], running[best]
        self._see_whether_it_can_improve(num_new)
        return beams[best]

    def _take_ended(
        self, scores: np.ndarray, ids: np.ndarray, ends: np.ndarray, num_new: int
    ) -> None:
        settings = self._settings
        if not self.can_improve or (settings.early_stopping is True and self.is_full):
            return
        divisor = np.float32(num_new**settings.length_penalty)
        new = [(scores[i] / divisor, ids[i]) for i in np.flatnonzero(ends)]
        merged = sorted([*self.ended, *new], key=lambda found: -found[0])
        self.ended = merged[: settings.num_beams]

    def _see_whether_it_can_improve(self, num_new: int) -> None:
        settings = self._settings
        length = num_new
        if settings.early_stopping == "never" and settings.length_penalty > 0:
            length = self._room
        possible = self.scores[0] / np.float32(length**settings.length_penalty)
        worst = self.ended[-1][0] if self.is_full else _NEVER
        self.can_improve = self.can_improve and bool(possible > worst)

    @property
    def is_full(self) -> bool:
        return len(self.ended) == self._settings.num_beams

    def best(self) -> list[tuple[np.float32, np.ndarray]]:
        """Returns the best answers; those that run where too few have ended."""
        number = self._settings.num_returned
        running = [(_NEVER, ids) for ids in self.running]
        return [*self.ended, *running][:number]


def search_beams(
    steps: Steps,
    logits: np.ndarray,
    ids: np.ndarray,
    request: HostRequest,
    settings: BeamSettings,
) -> HostAnswers:
    """Returns the best answers that a search with N beams finds.

    Args:
      steps: The model, which has read the prompts.
      logits: What it said after them, [B, V].
      ids: The prompts, [B, L].
      request: What shall come.
      settings: How it is searched.
    """
    N, B = settings.num_beams, len(ids)
    prompts = [_Prompt(row, settings, request.room) for row in ids]
    rows = np.repeat(np.arange(B), N)
    steps.select(rows)
    logits, kept = logits[rows], Kept(request)
    number = max(2, 1 + len(request.stop_ids)) * N
    for i in range(request.room):
        current = np.concatenate([prompt.running for prompt in prompts])
        log_probs = request.process(current, log_softmax(logits))
        kept.add(logits, log_probs)
        found = [
            prompt.continuations(log_probs[n * N : (n + 1) * N], number)
            for n, prompt in enumerate(prompts)
        ]
        ends = request.ends(np.concatenate([new[2] for new in found]), kept.scores)
        if i == request.room - 1:
            ends[:] = True
        parts = np.split(ends, np.cumsum([len(new[2]) for new in found])[:-1])
        beams = [
            prompt.take(*new, part)
            for prompt, new, part in zip(prompts, found, parts, strict=True)
        ]
        is_full = all(prompt.is_full for prompt in prompts)
        if (
            ends.all()
            or not any(prompt.can_improve for prompt in prompts)
            or (settings.early_stopping is True and is_full)
        ):
            break
        steps.select(np.concatenate([n * N + b for n, b in enumerate(beams)]))
        last = np.concatenate([prompt.running[:, -1] for prompt in prompts])
        logits = steps.advance(last)
    return _answers(prompts, kept, request)


def _answers(prompts: list[_Prompt], kept: Kept, request: HostRequest) -> HostAnswers:
    best = [answer for prompt in prompts for answer in prompt.best()]
    length = max(len(ids) for _, ids in best)
    # transformers fills up with the end of answers where the padding is token 0.
    fill = request.pad_id or next(iter(request.stop_ids), request.pad_id)
    filled = [
        np.pad(ids, (0, length - len(ids)), constant_values=fill) for _, ids in best
    ]
    return HostAnswers(
        ids=np.stack(filled),
        scores=kept.scores,
        logits=kept.logits,
        sequences_scores=np.array([score for score, _ in best], np.float32),
    )

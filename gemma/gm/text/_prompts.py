"""What people pass as a prompt becomes token ids."""

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gemma.gm.dialog import (
    ChatTemplate,
    Conversation,
    Format,
    Image,
    Rendered,
    Role,
    Segment,
    Turn,
    render,
)
from gemma.gm.text._pictures import (
    Picture,
    PictureTaker,
    expand_images,
    image_starts,
    without_padding,
)
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.vision import VisionConfig

# Text (control tokens in it are read), token ids, or a conversation (what people wrote
# in it is text and nothing else).
Prompt: TypeAlias = str | Sequence[int] | Conversation


def as_batch(prompt: Prompt | Sequence[Prompt]) -> tuple[list[Prompt], bool]:
    """Returns the prompts, and whether a single one was given.

    Raises:
      TypeError: It is neither a prompt nor a sequence of them.
    """
    if isinstance(prompt, str | Conversation):
        return [prompt], True
    if not isinstance(prompt, Sequence | np.ndarray) or isinstance(prompt, bytes):
        raise TypeError(
            "A prompt is a str, token ids or a Conversation, or a sequence of these; "
            f"found {type(prompt).__name__}."
        )
    items: list[Any] = list(prompt)
    if items and isinstance(items[0], int | np.integer):
        return [items], True
    for item in items:
        _check_prompt(item)
    return items, False


def _check_prompt(prompt: Any) -> None:
    """Refuses what is no prompt of a batch, and names what it may have been meant as."""
    hint = ""
    entries = [prompt, *(prompt if isinstance(prompt, list | tuple) else ())]
    if any(isinstance(entry, Mapping) for entry in entries):
        hint = " Messages become one: gm.dialog.Conversation.from_messages(messages)."
    elif any(isinstance(entry, Turn) for entry in entries):
        hint = " Turns become one: gm.dialog.Conversation((turn, ...))."
    elif hasattr(prompt, "__iter__") and not isinstance(prompt, bytes):
        return
    raise TypeError(
        "A prompt is a str, token ids or a Conversation; found "
        f"{type(entries[-1]).__name__}.{hint}"
    )


class EncodedPrompt(NamedTuple):
    """A prompt as the model reads it.

    Attributes:
      token_ids: Its tokens; those of images are the soft token of the model's eyes.
      pictures: The images, in their order.
    """

    token_ids: list[int]
    pictures: tuple[Picture, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class PromptEncoder:
    """Turns prompts into tokens and pictures.

    Attributes:
      tokenizer: The tokenizer.
      format: How the family writes conversations down.
      vision: The eyes of the model, if it has any.
      pictures: What makes pictures of images, if it has eyes.
      num_rows: Rows of the model's embedding.
      template: What writes conversations instead of the format.
      template_variables: Variables of the template, by name.
    """

    tokenizer: Tokenizer
    format: Format
    vision: VisionConfig | None
    pictures: PictureTaker | None
    num_rows: int
    template: ChatTemplate | None = None
    template_variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        format: Format,
        vision: VisionConfig | None,
        *,
        num_rows: int,
        pan_and_scan: bool = False,
        template_variables: Mapping[str, Any] | None = None,
    ) -> "PromptEncoder":
        """Returns the encoder of a model.

        Args:
          tokenizer: The tokenizer. If it has a chat template that is not a published
            one, conversations are written by that.
          format: How the family writes conversations down.
          vision: The vision encoder, if the model has one.
          num_rows: Rows of the model's embedding. Some tokens that were added to the
            tokenizer after training may have none.
          pan_and_scan: See `vision.pan_and_scan`.
          template_variables: Variables of the chat template, by name.

        Raises:
          ValueError: The tokenizer is not the model's; or there are variables, and no
            template that could read them.
        """
        tokenizer.num_held(num_rows)
        pictures = vision and PictureTaker(vision, with_crops=pan_and_scan)
        template = tokenizer.chat_template
        known = template and template.format(format)
        if template_variables and (template is None or known is not None):
            raise ValueError(
                f"Conversations are written as {(known or format).name} does, which reads "
                f"no variables: remove {next(iter(template_variables))!r}."
            )
        return cls(
            tokenizer,
            known or format,
            vision,
            pictures,
            num_rows,
            None if known else template,
            template_variables or {},
        )

    def encode(
        self,
        prompt: Prompt,
        images: Sequence[object] = (),
        *,
        before: EncodedPrompt | None = None,
    ) -> EncodedPrompt:
        """Returns the tokens of a prompt, which begin with `<bos>` if it was text.

        Args:
          prompt: A prompt.
          images: Images for the placeholders of a text or the soft tokens of ids, and
            arrays of zeros that fill a batch up; those of a conversation are in it.
          before: What text and token ids follow. A conversation is always whole.

        Raises:
          ValueError: There are no token ids, or one is outside the vocabulary; or
            there are more or fewer images than places for them.
        """
        if isinstance(prompt, Conversation):
            if images:
                raise ValueError(
                    "The images of a conversation are parts of its turns: "
                    "gm.dialog.Turn.user('...', gm.dialog.Image(path))."
                )
            return self._encode_conversation(prompt)
        if isinstance(prompt, str):
            new = self._encode_text(prompt, images)
            is_begun = before is not None or new.token_ids[:1] == [
                self.tokenizer.bos_id
            ]
            begin = [] if is_begun else [self.tokenizer.bos_id]
        else:
            new, begin = self._check_ids(prompt, images, before is None), []
        self._require_rows(new.token_ids)
        if before is not None:
            begin = before.token_ids
        known = () if before is None else before.pictures
        return EncodedPrompt([*begin, *new.token_ids], (*known, *new.pictures))

    def _encode_text(self, text: str, images: Sequence[object]) -> EncodedPrompt:
        if self.vision is None:
            self._refuse(images)
            return EncodedPrompt(self.tokenizer.encode(text))
        segments = [Segment(text, True, None)]
        images = without_padding(images, self._num_placeholders(segments))
        return self._encode_segments(segments, [Image(source) for source in images])

    def _encode_conversation(self, conversation: Conversation) -> EncodedPrompt:
        parts = (part for turn in conversation.turns for part in turn.parts)
        images = [part for part in parts if isinstance(part, Image)]
        if self.vision is None:
            self._refuse(images)
        segments = self._render(conversation).segments
        return self._encode_segments(segments, images)

    def _render(self, conversation: Conversation) -> Rendered:
        """Returns a conversation as text; an answer that it ends with is left open."""
        turns = conversation.turns
        goes_on = bool(turns) and turns[-1].role is Role.MODEL
        options = {
            "add_generation_prompt": not goes_on,
            "continue_final_message": goes_on,
        }
        if self.template is None:
            return render(conversation, self.format, **options)
        return self.template.render_conversation(
            conversation,
            control_tokens=self.tokenizer.find_control_tokens,
            **options,
            **self.template_variables,
        )

    def _encode_segments(
        self,
        segments: Sequence[Segment],
        images: Sequence[Image],
    ) -> EncodedPrompt:
        taken: list[list[Picture]] = [[] for _ in images]
        if self.pictures and self._num_placeholders(segments) == len(images):
            taken = self.pictures.take(images)
        ids: list[int] = []
        for part in expand_images(segments, [len(t) for t in taken], self.format):
            if part.is_image:
                assert self.vision is not None
                ids += [self.vision.soft_token] * self.vision.tokens_per_image
            else:
                is_control = part.is_control
                ids += self.tokenizer.encode(part.text, control_tokens=is_control)
        return EncodedPrompt(ids, tuple(p for pictures in taken for p in pictures))

    def _check_ids(
        self, prompt: Sequence[int], images: Sequence[object], is_all: bool
    ) -> EncodedPrompt:
        ids = [operator.index(token_id) for token_id in prompt]
        if not ids and is_all:
            raise ValueError("A prompt of token ids is empty; it needs at least one.")
        soft = None if self.vision is None else self.vision.soft_token
        for token_id in ids:
            if not 0 <= token_id < self.tokenizer.vocab_size and token_id != soft:
                raise ValueError(
                    f"Prompt has token id {token_id}, outside the vocabulary of "
                    f"{self.tokenizer.vocab_size:,} tokens."
                )
        if self.vision is None:
            self._refuse(images)
        starts = image_starts(ids, self.vision)
        images = without_padding(images, len(starts))
        if len(starts) != len(images):
            raise ValueError(
                f"The prompt has soft tokens of {len(starts)} images and {len(images)} "
                "images came with it."
            )
        if self.pictures is None:
            return EncodedPrompt(ids)
        # The soft tokens are there: crops would have no place.
        taken = self.pictures.take([Image(source) for source in images])
        return EncodedPrompt(ids, tuple(whole for whole, *_ in taken))

    def _require_rows(self, ids: Sequence[int]) -> None:
        """Refuses tokens that the embedding has no row for."""
        soft = None if self.vision is None else self.vision.soft_token
        for token_id in ids:
            if token_id >= self.num_rows and token_id != soft:
                raise ValueError(
                    f"The prompt has {self.tokenizer.piece(token_id)!r}, token "
                    f"{token_id:,}, which this model cannot read: its embedding has "
                    f"{self.num_rows:,} rows. Take it out of the prompt."
                )

    def _num_placeholders(self, segments: Sequence[Segment]) -> int:
        tag = self.format.image_placeholder
        return sum(s.text.count(tag) for s in segments if s.is_control) if tag else 0

    def _refuse(self, images: Sequence[object]) -> None:
        if images:
            raise ValueError(
                f"The prompt has {len(images)} images, but this model has no eyes: it "
                "reads text only. Gemma 3 of 4B and more sees; the vision encoder of a "
                "GGUF file is in a separate file, mmproj-*.gguf: put it beside the first."
            )

"""`Gemma3Processor`: texts with images become what a model takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gemma.gm import ckpts
from gemma.gm.dialog import Conversation, Image
from gemma.hf._batch_encoding import BatchEncoding, as_arrays
from gemma.hf._chat_template import Templates
from gemma.hf._hub_options import HubOptions
from gemma.hf._image_processor import SETTINGS, Gemma3ImageProcessor
from gemma.hf._processor_files import ProcessorSettings, processor_files
from gemma.hf._processor_options import Asked, split_chat_options
from gemma.hf._tokenizer import GemmaTokenizer

# What stands for images where a tokenizer names no tokens of its own for that.
_NAMES = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}


class Gemma3Processor:
    """A tokenizer and what prepares images, as one function.

    Attributes:
      image_processor: What prepares images.
      tokenizer: The tokenizer.
      chat_template: How conversations are written; the tokenizer's if not set.
      image_seq_length: Tokens that stand for an image.
      boi_token: Begins an image. In a text it is the place of one.
      eoi_token: Ends an image.
    """

    model_input_names = (
        "input_ids",
        "attention_mask",
        "pixel_values",
        "token_type_ids",
    )

    def __init__(
        self,
        image_processor: Gemma3ImageProcessor,
        tokenizer: GemmaTokenizer,
        chat_template: Templates = None,
        image_seq_length: int = 256,
    ):
        """Makes a processor; see the attributes.

        Raises:
          ValueError: The vocabulary has no tokens for images.
        """
        self.image_processor, self.tokenizer = image_processor, tokenizer
        if chat_template is not None:
            tokenizer.chat_template = chat_template
        self.image_seq_length = image_seq_length
        self.boi_token = _token(tokenizer, "boi_token")
        self.eoi_token = _token(tokenizer, "eoi_token")
        self._soft_token = _token(tokenizer, "image_token")
        self.image_token = self.boi_token
        self.image_token_ids = [tokenizer.tokenizer.id(self._soft_token)]

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | None, **options: Any
    ) -> "Gemma3Processor":
        """Returns the processor of a checkpoint.

        Args:
          pretrained_model_name_or_path: See `gm.hub.resolve`.
          **options: Those of `GemmaTokenizer.from_pretrained`; `size`, `image_mean` and
            `image_std` of images; `image_seq_length` and `chat_template`.

        Raises:
          TypeError: An option of transformers that has no equal here.
          ValueError: The checkpoint does not read images.
        """
        path = HubOptions.take(options)[0].resolve(pretrained_model_name_or_path)
        found = ProcessorSettings.read(path)
        if found is None:
            raise ValueError(
                f"{path} has no vision encoder, so a tokenizer is all it needs: use "
                "AutoTokenizer.from_pretrained."
            )
        asked = {n: options.pop(n) for n in SETTINGS if n in options}
        own = {
            "chat_template": options.pop("chat_template", None),
            "image_seq_length": options.pop("image_seq_length", found.image_seq_length),
        }
        tokenizer = GemmaTokenizer.from_pretrained(
            pretrained_model_name_or_path, **options
        )
        return cls(Gemma3ImageProcessor(**{**found.images, **asked}), tokenizer, **own)

    @property
    def chat_template(self) -> Templates:
        """How conversations are written; see `GemmaTokenizer`."""
        return self.tokenizer.chat_template

    @chat_template.setter
    def chat_template(self, template: Templates) -> None:
        self.tokenizer.chat_template = template

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        **options: Any,
    ) -> BatchEncoding:
        """Returns `input_ids`, `attention_mask`, `pixel_values` and `token_type_ids`.

        Each `<start_of_image>` of a text becomes the tokens that stand for an image.
        Types are 1 for those and 0 for others.

        Args:
          images: An image for one text; or a list of images for each text. See
            `Gemma3ImageProcessor` for what an image is.
          text: A text, or a list of them; by default images without text.
          **options: Those of `GemmaTokenizer.__call__`, such as `padding` and
            `return_tensors`; those of `Gemma3ImageProcessor.__call__`, such as
            `do_pan_and_scan`; or `text_kwargs` and `images_kwargs`, dicts of them.

        Raises:
          ImageError: An image cannot be read.
          TypeError: An option that cannot be honoured.
          ValueError: There are more or fewer images than places for them, or truncation
            cuts an image.
        """
        asked = Asked.take(options)
        rows = None if images is None else _rows_of(images)
        texts = self._texts(text, rows)
        found: dict[str, Any] = {}
        # Without an image its options are looked at all the same.
        prepared = self.image_processor(rows or [], **asked.images)
        if prepared["pixel_values"]:
            found = {"pixel_values": prepared["pixel_values"]}
            texts = self._with_images(texts, prepared["num_crops"])
        encoded = self.tokenizer(texts, **asked.text)
        self._check_not_cut(texts, encoded["input_ids"])
        if asked.with_types:
            found["token_type_ids"] = [
                np.isin(row, self.image_token_ids).astype(int).tolist()
                for row in encoded["input_ids"]
            ]
        return as_arrays({**encoded, **found}, asked.kind)

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]] | Sequence[Sequence[Mapping]],
        chat_template: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        *,
        return_dict: bool = False,
        return_tensors: str | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Returns conversations as text, or as what a model takes, with their images.

        Args:
          conversation: Messages, or a list of such lists. Images are items such as
            {"type": "image", "image": ...}; a path may be called "path" or "url".
          chat_template: See `GemmaTokenizer.apply_chat_template`.
          tools: See there.
          documents: See there.
          add_generation_prompt: See there.
          continue_final_message: See there.
          tokenize: Return ids; if not, the text.
          return_dict: Return all that `__call__` does; if not, the ids alone.
          return_tensors: "np", "jax" or "pt"; None for lists.
          processor_kwargs: See `__call__`.
          **options: The same; all others are variables of the template.

        Raises:
          ImageError: An image cannot be read.
          ValueError: The template refuses the messages, or an image is missing.
        """
        called, variables = split_chat_options(options)
        prompt = self.tokenizer.apply_chat_template(
            conversation,
            tools=tools,
            documents=documents,
            chat_template=chat_template,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            tokenize=False,
            **variables,
        )
        if not tokenize:
            return prompt
        called = {
            "return_tensors": return_tensors,
            **called,
            **(processor_kwargs or {}),
        }
        single = isinstance(prompt, str)
        conversations: Any = [conversation] if single else conversation
        rows = [_images_of(messages) for messages in conversations]
        first, bos = prompt if single else prompt[0], self.tokenizer.bos_token
        if bos is not None and first.startswith(bos):
            called["add_special_tokens"] = False
        given = called.pop("images", rows if any(rows) else None)
        encoded = self(text=prompt, images=given, **called)
        return encoded if return_dict else encoded["input_ids"]

    def decode(self, token_ids: Any, **options: Any) -> str | list[str]:
        """Returns the text of ids; see `GemmaTokenizer.decode`."""
        return self.tokenizer.decode(token_ids, **options)

    def batch_decode(self, sequences: Any, **options: Any) -> list[str]:
        """Returns the text of each row of ids."""
        return self.tokenizer.batch_decode(sequences, **options)

    def post_process_image_text_to_text(
        self, generated_outputs: Any, skip_special_tokens: bool = True, **options: Any
    ) -> str | list[str]:
        """Returns the text of what `generate` returned."""
        options["skip_special_tokens"] = skip_special_tokens
        return self.tokenizer.decode(generated_outputs, **options)

    def save_pretrained(
        self, save_directory: str | Path, **options: Any
    ) -> tuple[str, ...]:
        """Writes what `from_pretrained` reads, and transformers too; returns the paths.

        Args:
          save_directory: The folder; made if it is not there.
          **options: See `GemmaTokenizer.save_pretrained`.
        """
        paths = self.tokenizer.save_pretrained(save_directory, **options)
        files = processor_files(self.image_processor, self.image_seq_length)
        for name, content in files.items():
            with ckpts.whole_file(Path(save_directory) / name) as unfinished:
                unfinished.write_bytes(content)
        return paths + tuple(str(Path(save_directory) / name) for name in files)

    def __repr__(self) -> str:
        size = self.image_processor.size["height"]
        return f"{type(self).__name__}({self.tokenizer!r}, images of {size})"

    def _texts(
        self, text: str | Sequence[str] | None, rows: list[list[Any]] | None
    ) -> list[str]:
        """Returns the texts, in which there are as many places as images."""
        if text is None:
            if not rows:
                raise ValueError("There is neither a text nor an image: pass text=.")
            return [" ".join([self.boi_token] * len(row)) for row in rows]
        texts = [text] if isinstance(text, str) else list(text)
        if not all(isinstance(one, str) for one in texts):
            raise TypeError("text is a str, or a list of them.")
        places = [one.count(self.boi_token) for one in texts]
        found = [0] * len(texts) if rows is None else [len(row) for row in rows]
        if places != found and any((*places, *found)):
            raise ValueError(
                f"The texts have {places} places for images ({self.boi_token}), and "
                f"there are {found} images. Write {self.boi_token} where an image stands, "
                "and pass a list of images for each text."
            )
        return texts

    def _with_images(self, texts: Sequence[str], num_crops: Sequence[int]) -> list[str]:
        """Returns texts with the tokens of images in their places."""
        soft = self._soft_token * self.image_seq_length
        whole = f"\n\n{self.boi_token}{soft}{self.eoi_token}\n\n"
        crops, written = iter(num_crops), []
        for text in texts:
            first, *rest = text.split(self.boi_token)
            parts = [first]
            for part in rest:
                parts += [_image_text(whole, next(crops)), part]
            written.append("".join(parts))
        return written

    def _check_not_cut(self, texts: Sequence[str], rows: Sequence[Any]) -> None:
        found = [int(np.isin(row, self.image_token_ids).sum()) for row in rows]
        if found != [text.count(self._soft_token) for text in texts]:
            raise ValueError(
                f"Truncation cuts an image: {self.image_seq_length} tokens stand for it. "
                "Pass a greater max_length, or no truncation."
            )


class AutoProcessor:
    """Finds the processor of a checkpoint; the tokenizer of one that reads text only."""

    def __init__(self) -> None:
        raise TypeError("AutoProcessor is not made: use AutoProcessor.from_pretrained.")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | None, **options: Any
    ) -> Any:
        """Returns a `Gemma3Processor` or a `GemmaTokenizer`; see there."""
        path = HubOptions.take(options)[0].resolve(pretrained_model_name_or_path)
        has_images = ProcessorSettings.read(path) is not None
        kind = Gemma3Processor if has_images else GemmaTokenizer
        return kind.from_pretrained(pretrained_model_name_or_path, **options)


def _token(tokenizer: GemmaTokenizer, role: str) -> str:
    name = getattr(tokenizer, role, None) or _NAMES[role]
    if name not in tokenizer.tokenizer.control_tokens:
        raise ValueError(
            f"{tokenizer.name_or_path} has no {name}, which images need. Pass the "
            "tokenizer of a Gemma 3 from Hugging Face, 4B or larger; gm.text.ChatSampler "
            "reads images without it."
        )
    return name


def _rows_of(images: Any) -> list[list[Any]]:
    """Returns the images of each text: one, or a list, is of one text."""
    if not isinstance(images, list | tuple):
        return [[images]]
    if images and all(isinstance(row, list | tuple) for row in images):
        return [list(row) for row in images]
    return [list(images)] if images else []


def _images_of(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Returns the images that a conversation holds; places without one are left out."""
    items = [
        item
        for message in messages
        if not isinstance(message.get("content"), str)
        for item in message.get("content") or ()
        if item.get("type") in ("image", "image_url")
    ]
    if not items:
        return []
    [turn] = Conversation.from_messages([{"role": "user", "content": items}]).turns
    images = [part for part in turn.parts if isinstance(part, Image)]
    return [image.source for image in images if image.source is not None]


def _image_text(whole: str, num_crops: int) -> str:
    """Returns what stands for an image and its crops."""
    if not num_crops:
        return whole
    crops = " ".join([whole] * num_crops)
    return (
        f"Here is the original image {whole} and here are some crops to help you see "
        f"better {crops}"
    )

"""Conversations as text: `apply_chat_template` of transformers, up to the text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from gemma.gm.ckpts import read_chat_templates
from gemma.gm.dialog import GEMMA2, GEMMA3, ChatTemplate, Conversation, Format, render
from gemma.gm.text import Tokenizer
from gemma.hf._fixed_options import FixedOption, take_fixed
from gemma.hf._special_tokens import SpecialTokens

# A template in Jinja, several by name, or none.
Templates: TypeAlias = str | Mapping[str, str] | None

DEFAULT_TEMPLATE = "default"
ENCODING_OPTIONS = (
    "padding",
    "truncation",
    "max_length",
    "return_tensors",
    "padding_side",
)
FIXED = {
    "return_assistant_tokens_mask": FixedOption(
        (False, None), "gm.dialog.render tells whose words each segment is"
    ),
    "sanitize_control_tokens": FixedOption(
        (False, None),
        "gm.text.Sampler.encode(Conversation) keeps what is typed apart from control "
        "tokens",
    ),
}
_WAYS = {"tools": "gm.text.ToolSampler calls tools"}


class ChatTokenizer(SpecialTokens):
    """A tokenizer that writes conversations.

    Attributes:
      chat_template: A template in Jinja, or several by name; None for the format of the
        family. May be set.
    """

    chat_template: Templates = None

    def __call__(self, text: Any, **options: Any) -> Any:
        """Returns the ids of a text or of several."""
        raise NotImplementedError

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]] | Sequence[Sequence[Mapping]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        *,
        return_dict: bool = True,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Returns conversations as the checkpoint's chat template writes them.

        Published templates are known; others are rendered by Jinja. Without a template
        conversations are written as the family does.

        Args:
          conversation: Messages with "role" and "content", or a list of such lists.
          tools: JSON schemas, for templates that read them.
          documents: Dicts, for templates that read them.
          chat_template: A template in Jinja, or the name of one of several that the
            checkpoint has, instead of `chat_template`.
          add_generation_prompt: Whether to open an answer.
          continue_final_message: Whether to leave the last message open instead.
          tokenize: Return ids; if not, the text.
          return_dict: Return what `__call__` does; if not, the ids alone.
          tokenizer_kwargs: See `__call__`.
          **options: `padding`, `truncation`, `max_length`, `return_tensors` and
            `padding_side` of `__call__`; others are variables of the template.

        Raises:
          ImportError: The template is not a published one, and Jinja is not installed.
          ValueError: The template refuses the messages.
          TypeError: The family's format does not read a variable.
        """
        encoding = {n: options.pop(n) for n in ENCODING_OPTIONS if n in options}
        template = choose_template(
            self.chat_template,
            chat_template,
            tools=tools,
            special_tokens=self.special_tokens_map,
        )
        variables = {"tools": tools, "documents": documents, **options}
        single = not conversation or isinstance(conversation[0], Mapping)
        conversations: Any = [conversation] if single else conversation
        texts = [
            write_conversation(
                self.tokenizer,
                template,
                messages,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                **variables,
            )
            for messages in conversations
        ]
        text = texts[0] if single else texts
        if not tokenize:
            return text
        encoding = {"add_special_tokens": False, **encoding, **(tokenizer_kwargs or {})}
        encoded = self(text, **encoding)
        return encoded if return_dict else encoded["input_ids"]


def read_templates(path: Path) -> Templates:
    """Returns what the attribute `chat_template` of a checkpoint's tokenizer is."""
    stored = read_chat_templates(path)
    if set(stored.templates) <= {DEFAULT_TEMPLATE}:
        return stored.default
    return dict(stored.templates)


def choose_template(
    templates: Templates,
    asked: str | None,
    *,
    tools: Any,
    special_tokens: Mapping[str, str],
) -> ChatTemplate | None:
    """Returns the template that a call means; None for the format of the family.

    Args:
      templates: Those of the tokenizer.
      asked: A template, or the name of one.
      tools: Tools; some checkpoints have a template of their own for them.
      special_tokens: Variables such as `bos_token`.
    """
    named = templates if isinstance(templates, Mapping) else {}
    if asked is not None:
        return ChatTemplate(named.get(asked, asked), special_tokens)
    if not isinstance(templates, Mapping):
        return None if templates is None else ChatTemplate(templates, special_tokens)
    name = "tool_use" if tools and "tool_use" in named else DEFAULT_TEMPLATE
    if name not in named:
        raise ValueError(
            f"The checkpoint has chat templates named {', '.join(sorted(named))} and no "
            "default: pass chat_template=, one of these names or a template."
        )
    return ChatTemplate(named[name], special_tokens)


def write_conversation(
    tokenizer: Tokenizer,
    template: ChatTemplate | None,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool,
    continue_final_message: bool,
    **variables: Any,
) -> str:
    """Returns the text of a conversation.

    Args:
      tokenizer: Its control tokens tell the family.
      template: The template; None for the format of the family.
      messages: Messages with "role" and "content".
      add_generation_prompt: Whether to open an answer.
      continue_final_message: Whether to leave the last message open instead.
      **variables: Variables of the template.

    Raises:
      ImportError: The template is not a published one, and Jinja is not installed.
      TypeError: The family's format does not read a variable.
      ValueError: The template refuses the messages, or the vocabulary has no turns.
    """
    variables = take_fixed(variables, FIXED)
    options = {
        "add_generation_prompt": add_generation_prompt,
        "continue_final_message": continue_final_message,
    }
    if all(options.values()):
        raise ValueError(
            "add_generation_prompt opens a new answer, and continue_final_message goes on "
            "with the last one: pass one of them."
        )
    known = _family(tokenizer) if template is None else _known(tokenizer, template)
    if known is None:
        assert template is not None
        return template.render(messages, **options, **variables)
    for name, value in variables.items():
        if value is not None:
            way = _WAYS.get(name, "pass chat_template=, a template that reads it")
            raise TypeError(f"{name!r} has no equal in {known.name}'s format: {way}.")
    if not messages:
        raise ValueError("The conversation is empty: there is no message.")
    return render(Conversation.from_messages(messages), known, **options).text


def _known(tokenizer: Tokenizer, template: ChatTemplate) -> Format | None:
    return template.format(_newest(tokenizer))


def _family(tokenizer: Tokenizer) -> Format:
    """Returns the format that a vocabulary was made for."""
    if GEMMA2.start_of_turn not in tokenizer.control_tokens:
        raise ValueError(
            f"The vocabulary has no {GEMMA2.start_of_turn}: it was made for a model that "
            "does not converse. Pass chat_template=, or set tokenizer.chat_template."
        )
    return _newest(tokenizer)


def _newest(tokenizer: Tokenizer) -> Format:
    # The vocabulary of Gemma 1 and 2 has a tag that opens an image too, but none that
    # closes it.
    has_images = GEMMA3.end_of_image in tokenizer.control_tokens
    return GEMMA3 if has_images else GEMMA2

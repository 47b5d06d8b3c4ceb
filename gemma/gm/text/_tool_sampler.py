"""A conversation in which the model may ask for tools."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from gemma.gm._numbers import check_count, check_number
from gemma.gm.dialog import (
    GEMMA3_JSON,
    Conversation,
    Role,
    ToolCall,
    ToolCallError,
    ToolFormat,
    ToolResult,
    Turn,
    declare_tools,
    parse_calls,
    write_results,
)
from gemma.gm.text._chat_sampler import ChatSampler
from gemma.gm.text._generation import Piece
from gemma.gm.text._options import check_list
from gemma.gm.tools import Tool, call_tool


class ToolRoundsError(RuntimeError):
    """The model asked for tools again and again."""


class ToolSampler(ChatSampler):
    """Talks with a model that may ask for tools before it answers.

    What the model asks for is run, and the results are said to it, until it answers
    without a call. Calls and results are turns of the conversation like all others.

    Attributes:
      tools: What the model may ask for.

    Example:
      ```python
      def weather(city: str) -> str:
          "Returns the weather of a city."
          return f"{city}: sun"

      chat = gm.text.ToolSampler(model=model, params=params, tools=[weather])
      chat.chat("Do I need an umbrella in Oslo?")
      ```
    """

    def __init__(
        self,
        *,
        tools: Sequence[Tool | Callable[..., object]],
        tool_format: ToolFormat = GEMMA3_JSON,
        max_rounds: int = 8,
        tool_timeout_s: float = 60,
        on_result: Callable[[ToolCall, ToolResult], object] | None = None,
        **options: Any,
    ):
        """Makes a conversation.

        Args:
          tools: Tools, or functions with type hints, which become tools.
          tool_format: How tools, calls and results are written.
          max_rounds: How often the model may ask for tools before it answers.
          tool_timeout_s: How long a tool may take.
          on_result: Called with each call and its result.
          **options: See `ChatSampler`.

        Raises:
          TypeError: A function cannot be a tool; it says why.
          ValueError: Two tools have one name, or results of the format do not stand in
            a turn of the user, as they must for the families that are here.
        """
        if tool_format.result_role is not Role.USER:
            raise ValueError(
                f"Results of {tool_format.name} go into the model's own turn, which no "
                "family that can be loaded writes. Use GEMMA3_JSON or GEMMA3_PYTHON."
            )
        self.tools = tuple(
            tool if isinstance(tool, Tool) else Tool.from_function(tool)
            for tool in tools
        )
        self._format = tool_format
        self._max_rounds = check_count("max_rounds", max_rounds, at_least=0)
        self._timeout_s = check_number(
            "tool_timeout_s", tool_timeout_s, above=0, may_be_infinite=True
        )
        self._on_result = on_result
        self._declared = declare_tools(self.tools, tool_format) if tools else ""
        super().__init__(**options)

    def stream(
        self,
        prompt: str | Turn | Conversation | None,
        *,
        stop: Sequence[str] = (),
        **options: Any,
    ) -> Generator[Piece, None, None]:
        """Says something to the model; yields all that it writes, its calls included.

        Args:
          prompt: What to say.
          stop: Strings that end an answer.
          **options: See `ChatSampler.stream`.

        Raises:
          ValueError: There are tools and a constraint or schema; see also
            `ChatSampler.stream`.
          ToolRoundsError: The model asks for tools more often than it may.
        """
        if (
            self.tools
            and (options.get("constraint"), options.get("schema")) != (None,) * 2
        ):
            raise ValueError(
                "A constraint holds for all that the model writes, so it could not call "
                "a tool. Ask without one, or without tools: ChatSampler."
            )
        # A model that goes on after its calls would make the results up.
        check_list("stop", stop)
        ends = [self._format.result_open.strip()] if self.tools else []
        options["stop"] = [*stop, *ends]
        first = super().stream(prompt, **options)
        options |= {"multi_turn": True, "images": None}
        return self._go_on(first, options)

    def _go_on(
        self, pieces: Iterator[Piece], options: Any
    ) -> Generator[Piece, None, None]:
        """Yields pieces; runs what they ask for, and yields what is said to that."""
        yield from pieces
        for num_rounds in range(self._max_rounds + 1):
            asked = self._read_calls()
            if not asked:
                return
            if num_rounds == self._max_rounds:
                raise ToolRoundsError(
                    f"The model asked for tools {num_rounds + 1} times in a row. Pass a "
                    "larger max_rounds, or tools that answer what it asks."
                )
            reply = asked if isinstance(asked, str) else self._run(asked)
            yield from super().stream(Turn.user(reply), **options)

    def _read_calls(self) -> list[ToolCall] | str:
        """Returns the calls of the last answer, or what is wrong with them."""
        try:
            return parse_calls(self.turns[-1].text, self._format)
        except ToolCallError as error:
            return str(error)

    def _run(self, calls: Sequence[ToolCall]) -> str:
        """Returns what the model reads of its calls."""
        results = []
        for call in calls:
            results.append(call_tool(self.tools, call, timeout_s=self._timeout_s))
            if self._on_result is not None:
                self._on_result(call, results[-1])
        return write_results(results, self._format)

    def _system_text(self) -> str | None:
        texts = [text for text in (self._declared, self.system) if text]
        return "\n\n".join(texts) or None

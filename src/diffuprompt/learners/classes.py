"""The class list that is being told apart: names now, tokens when a learner asks for them."""

from __future__ import annotations

from collections.abc import Sequence

from diffuprompt.clip.model import Clip
from diffuprompt.clip.tokens import Position, PromptedTokens, class_tokens, sentence_tokens
from diffuprompt.errors import DataError


class Classes:
    """An ordered list of class names, passed at call time, so that one learner scores any list.

    Tokens are remembered, so the layout of the fast text path is computed once a list.
    ``descriptions`` holds S sentences about each class, in the order of the names; empty: none.
    """

    def __init__(self, names: Sequence[str], descriptions: Sequence[Sequence[str]] = ()) -> None:
        self.names = tuple(names)
        self.descriptions = tuple(tuple(texts) for texts in descriptions)
        if not self.names:
            raise DataError("the class list is empty; give at least one class name")
        if self.descriptions and (
            len(self.descriptions) != len(self.names) or len(set(map(len, self.descriptions))) != 1
        ):
            raise DataError("every class needs the same number of descriptions")
        self._tokens: dict[object, PromptedTokens] = {}

    def __len__(self) -> int:
        return len(self.names)

    def tokens(
        self, clip: Clip, *, prefix: str | None, num_ctx: int, position: Position = "end"
    ) -> PromptedTokens:
        """Return the names with places for ``num_ctx`` prompt vectors; see `class_tokens`."""
        key = (id(clip.tokenizer), str(clip.device), prefix, num_ctx, position)
        if key not in self._tokens:
            self._tokens[key] = class_tokens(
                clip.tokenizer,
                self.names,
                prefix=prefix,
                num_ctx=num_ctx,
                position=position,
                context_length=clip.config.text.context_length,
            ).to(clip.device)
        return self._tokens[key]

    def sentences(self, clip: Clip, template: str) -> PromptedTokens:
        """Return ``template`` with every name in the place of ``{}``, as plain sentences."""
        key = (id(clip.tokenizer), str(clip.device), template)
        if key not in self._tokens:
            texts = [template.format(name.replace("_", " ")) for name in self.names]
            length = clip.config.text.context_length
            tokens = sentence_tokens(clip.tokenizer, texts, length)
            self._tokens[key] = tokens.to(clip.device)
        return self._tokens[key]

    def described(self, clip: Clip, index: int) -> PromptedTokens:
        """Return sentence ``index`` of every class; what exceeds the context is cut off."""
        texts = [sentences[index] for sentences in self.descriptions]
        length = clip.config.text.context_length
        return sentence_tokens(clip.tokenizer, texts, length, truncate=True).to(clip.device)

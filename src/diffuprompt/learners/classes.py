"""A list of classes to choose among: names now, tokens when a learner asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from diffuprompt.clip import Clip, Position, PromptedTokens, class_tokens, sentence_tokens
from diffuprompt.errors import DataError

KEPT_PARTS = 64  # selections that are remembered: more than calibration comes back to


class Classes:
    """An ordered list of class names, passed at call time, so that one learner scores any list.

    Tokens are remembered, so the layout of the fast text path is computed once per list, and once
    per part of it that is selected again and again.
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
        self._parts: dict[tuple[int, ...], Classes] = {}
        self._whole: tuple[Classes, tuple[int, ...]] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def select(self, index: Sequence[int]) -> Classes:
        """Return the classes at ``index``, in that order; the last few parts are remembered.

        Raises:
            DataError: ``index`` is empty.
        """
        key = tuple(index)
        part = self._parts.pop(key, None)
        if part is None:
            described = [self.descriptions[i] for i in key] if self.descriptions else []
            part = Classes([self.names[i] for i in key], described)
            part._whole = (self, key)
        self._parts[key] = part  # last, so the least recently asked for is first
        if len(self._parts) > KEPT_PARTS:
            del self._parts[next(iter(self._parts))]
        return part

    def tokens(
        self, clip: Clip, *, prefix: str | None, num_ctx: int, position: Position = "end"
    ) -> PromptedTokens:
        """Return the names with places for ``num_ctx`` prompt vectors; see `class_tokens`."""
        key = (*_reader(clip), prefix, num_ctx, position)

        def make(classes: Classes) -> PromptedTokens:
            return class_tokens(
                clip.tokenizer,
                classes.names,
                prefix=prefix,
                num_ctx=num_ctx,
                position=position,
                context_length=clip.config.text.context_length,
            ).to(clip.device)

        return self._remembered(key, make)

    def sentences(self, clip: Clip, template: str) -> PromptedTokens:
        """Return ``template`` with every name in the place of ``{}``, as plain sentences."""
        key = (*_reader(clip), template)

        def make(classes: Classes) -> PromptedTokens:
            texts = [template.replace("{}", name.replace("_", " ")) for name in classes.names]
            length = clip.config.text.context_length
            return sentence_tokens(clip.tokenizer, texts, length).to(clip.device)

        return self._remembered(key, make)

    def described(self, clip: Clip, index: int) -> PromptedTokens:
        """Return sentence ``index`` of every class; what exceeds the context is cut off."""
        texts = [sentences[index] for sentences in self.descriptions]
        length = clip.config.text.context_length
        return sentence_tokens(clip.tokenizer, texts, length, truncate=True).to(clip.device)

    def _remembered(self, key: object, make: Callable[[Classes], PromptedTokens]) -> PromptedTokens:
        """Return the tokens of ``key``; a part takes rows of the whole, tokenised only once."""
        if key not in self._tokens:
            if self._whole is None:
                self._tokens[key] = make(self)
            else:
                whole, rows = self._whole
                tokens = whole._remembered(key, make)
                self._tokens[key] = tokens.select(torch.tensor(rows))
        return self._tokens[key]


def _reader(clip: Clip) -> tuple[object, ...]:
    """Return all of a backbone that tokens depend on.

    The tokenizer itself, which is kept so: an address could be another tokenizer's later.
    """
    return (clip.tokenizer, clip.config.text.context_length, str(clip.device))

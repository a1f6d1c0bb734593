"""Methods that change parameters of a detector, by name: the linear probe and LoRA.

What is changed is chosen by whole components of a parameter's dotted name, and given to each call;
the detector itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from diffuprompt.errors import ConfigError
from diffuprompt.grounding.contract import Adaptation, Inputs, Method, Sites
from diffuprompt.grounding.methods.layers import linear
from diffuprompt.grounding.methods.settings import Factor, Settings, Width
from diffuprompt.ranges import Range

Names = Annotated[tuple[str, ...], Range(1, 100)]
TOWERS = {"body", "language", "backbone", "text_backbone"}  # as detectors call them


@dataclass(frozen=True, kw_only=True)
class LinearProbeConfig(Settings):
    """``names`` of the parts that are trained: those of Diff-Prompt's release.

    The release also lists ``cls_logits``, which no loss of grounding reads.
    """

    names: Names = (
        "bbox_pred",
        "centerness",
        "dot_product_projection_text",
        "log_scale",
        "bias_lang",
        "bias0",
    )


class LinearProbe(Method):
    """The last layers of the head, from their frozen values on.

    ``frozen`` are the detector's parameters by name. Raises `ConfigError` for a name it lacks.
    """

    def __init__(
        self,
        sites: Sites,
        config: LinearProbeConfig,
        init: torch.Generator,
        *,
        frozen: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        chosen = chosen_parameters(frozen, config.names, method="linear-probe", each=True)
        self.names = tuple(chosen)
        self.values = nn.ParameterList(
            nn.Parameter(value.detach().clone()) for value in chosen.values()
        )

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return the trained parameters in the place of the frozen ones."""
        return Adaptation(weights=dict(zip(self.names, self.values, strict=True)))


@dataclass(frozen=True, kw_only=True)
class LoraConfig(Settings):
    """Settings of LoRA.

    Attributes:
        names: linear layers that get a low-rank change: queries, keys and values of both towers.
        rank: of the change.
        alpha: the change is scaled by alpha / rank.
    """

    names: Names = ("qkv", "query", "key", "value", "q_proj", "k_proj", "v_proj")
    rank: Width = 4
    alpha: Factor = 8.0


class Lora(Method):
    """LoRA (arXiv 2106.09685, eq. 3): W + (alpha / rank) B A, B starting at 0.

    ``frozen`` are the detector's parameters by name. Raises `ConfigError` where it has no such
    layer.
    """

    def __init__(
        self,
        sites: Sites,
        config: LoraConfig,
        init: torch.Generator,
        *,
        frozen: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        towers = {name: value for name, value in frozen.items() if TOWERS & set(name.split("."))}
        chosen = chosen_parameters(towers, config.names, method="lora", each=False)
        matrices = {name: value for name, value in chosen.items() if value.ndim == 2}
        # In a tuple, so that it is no part of the state that is saved.
        self._frozen = (matrices,)
        self.factor = config.alpha / config.rank
        self.down = nn.ModuleList(
            linear(value.shape[1], config.rank, init, bias=False) for value in matrices.values()
        )
        self.up = nn.ParameterList(
            nn.Parameter(torch.zeros(len(value), config.rank)) for value in matrices.values()
        )

    def forward(self, inputs: Inputs) -> Adaptation:
        """Return the changed matrices."""
        return Adaptation(
            weights={
                name: value.detach() + self.factor * (up @ down.weight)
                for (name, value), down, up in zip(
                    self._frozen[0].items(), self.down, self.up, strict=True
                )
            }
        )


def chosen_parameters(
    frozen: Mapping[str, Tensor], names: Sequence[str], *, method: str, each: bool
) -> dict[str, Tensor]:
    """Return the parameters one of whose dotted name's components is in ``names``.

    Raises:
        ConfigError: the detector lacks one of them (``each``), or all.
    """
    found = {name: value for name, value in frozen.items() if set(names) & set(name.split("."))}
    known = {part for name in found for part in name.split(".")}
    absent = [name for name in names if name not in known]
    if absent and (each or not found):
        raise ConfigError(
            f"{method}: names: the detector has no parameters of {', '.join(absent)}; "
            "this method does not run on it, or name other ones"
        )
    return found

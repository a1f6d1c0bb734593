"""`diffuprompt import`: a checkpoint of a method's own repository as an artifact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffuprompt.cli.parse import Positional, Repeated
from diffuprompt.errors import ConfigError

EXAMPLES = """
diffuprompt import model.pth.tar-5 --learner maple --classes cat,dog --out artifacts/pets
diffuprompt import model.pth.tar-200 --learner coop --classes @names.txt --set position=middle
diffuprompt import best_F_16shots.pt --learner tip-adapter-f --classes @names.txt --set alpha=1.2
"""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Turn a checkpoint of a method's own repository into an artifact; nothing in it is run."""

    file: Annotated[Positional[Path], tyro.conf.arg(metavar="FILE")]
    """model.pth.tar-N of CoOp, CoCoOp, ProGrad, VPT, IVLP, MaPLe, PromptSRC, CoPrompt or
    CLIP-Adapter; of Tip-Adapter keys_16shots.pt, of Tip-Adapter-F best_F_16shots.pt."""
    learner: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """coop, cocoop, prograd, vpt, ivlp, maple, promptsrc, coprompt, clip-adapter, tip-adapter or
    tip-adapter-f."""
    backbone: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "openai/clip-vit-base-patch16"
    """The backbone it was trained on."""
    classes: Annotated[str, tyro.conf.arg(metavar="A,B,C")] = ""
    """The class names it was trained with, in their order; or one name a line in @FILE."""
    set: Annotated[Repeated[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """What the file does not say: ctx_init, position, image_adapter, templates, alpha, beta, ..."""
    values: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Of Tip-Adapter: the labels, by default values_16shots.pt beside keys_16shots.pt."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("artifact")
    """Folder of the artifact; a new or an empty one."""


def run(args: Args) -> int:
    """Import one file."""
    from diffuprompt.checkpoints import load_clip
    from diffuprompt.data import read_names
    from diffuprompt.hub import check_legacy, check_out, import_legacy
    from diffuprompt.jobs import read_options

    check_out(args.out)
    names = read_names(args.classes)
    if not names:
        raise ConfigError("--classes is required: the names it was trained with, in their order")
    check_legacy(
        args.file, args.learner, args.values
    )  # what is wrong with it is said before weights are loaded
    options = read_options(args.learner, args.set)
    clip = load_clip(args.backbone)
    description = import_legacy(
        args.file, args.learner, clip, names, args.out, options, args.values
    )
    print(f"imported: {args.out} ({description.learner}, {len(names)} classes)")
    print(f"next:     diffuprompt predict IMAGE --artifact {args.out}")
    return 0

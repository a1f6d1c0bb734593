"""What can be seen of prompts without any other weights: nearest words, and where a logit is from.

Three prompts are held against each other: the learner's *own*, those *generated* for the picture,
and *shuffled* ones, generated for another picture. Where generated and shuffled look alike, the
generator does not tell the two pictures apart.

Legend: B image, C class, E embedding, F flat, K prompts, N hidden part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from diffuprompt.data import ImageBatch, Preprocess
from diffuprompt.engine import NULL, Progress, torch_stream
from diffuprompt.errors import DataError, near_miss
from diffuprompt.hub import Artifact
from diffuprompt.learners import Classes, Learner
from diffuprompt.pictures.occlusion import Scores, occlusion
from diffuprompt.pictures.words import NearWords, nearest_words
from diffuprompt.prompts import Prompts

OWN, GENERATED, SHUFFLED = "own", "generated", "shuffled"
BLOCKS = 4  # along a side, of a lone picture that is shuffled by itself
CHUNK = 32  # pictures that pass the tower at once


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptView:
    """One kind of prompts on one picture.

    Attributes:
        words: near the prompt's vectors.
        map: ``(G, G)``, by how much the logit falls where a cell is hidden; see `occlusion`.
        logit: of the class against the mean of all, which the map is about.
        guesses: names with probabilities, the most probable first.
    """

    words: NearWords
    map: Tensor
    logit: float
    guesses: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureView:
    """One picture as the tower sees it, the class that is asked about, and prompts by their kind.

    ``shuffled_from`` says whose prompts the shuffled ones are.
    """

    picture: Image.Image
    name: str
    prompts: Mapping[str, PromptView]
    shuffled_from: str = ""


def view_pictures(
    artifact: Artifact,
    pictures: Sequence[Image.Image],
    *,
    classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    most: int = 3,
    progress: Progress = NULL,
) -> list[PictureView]:
    """Return the views of some pictures; equal arguments give equal views.

    Args:
        artifact: a learner, and a generator where there is one.
        pictures: RGB. The prompts of the next one are the shuffled ones; a lone picture's are of
            itself with its blocks in another order.
        classes: to choose from; None: those of training.
        names: the class that each picture is asked about; None: the most probable one, by the
            generated prompts where there are some.
        seed: of the blocks' order.
        most: words and guesses of each.
        progress: counts pictures.

    Raises:
        DataError: no picture, or a name that is none of the classes.
    """
    if not pictures:
        raise DataError("no pictures to look at; give at least one")
    chosen = Classes(artifact.description.classes if classes is None else classes)
    for name in names or ():
        if name not in chosen.names:
            hint = near_miss(name, list(chosen.names))
            raise DataError(f"{name!r} is none of the {len(chosen)} classes.{hint}")
    preprocess, device = artifact.clip.preprocess, artifact.clip.device
    pixels_B3HW = torch.stack([preprocess.test_view(p) for p in pictures]).to(device)
    sets = prompt_sets(artifact, pixels_B3HW, seed=seed)
    out = []
    with progress.task("looking at pictures", total=len(pictures)) as task, torch.inference_mode():
        for number, pixels in enumerate(pixels_B3HW):
            at = slice(number, number + 1)
            own = {kind: prompts.select(at) for kind, prompts in sets.items()}
            asked = names[number] if names is not None else None
            name, found = _views(artifact.learner, pixels, chosen, own, asked, most)
            alone = len(pictures) == 1
            out.append(
                PictureView(
                    picture=shown(pixels, preprocess),
                    name=name,
                    prompts=found,
                    shuffled_from="its own blocks" if alone else "the next picture",
                )
            )
            task.advance()
    return out


@torch.inference_mode()
def prompt_sets(artifact: Artifact, pixels_B3HW: Tensor, *, seed: int = 0) -> dict[str, Prompts]:
    """Return source prompts of pictures by their kind, as far as the artifact has that kind.

    A learner whose own prompts depend on the image is shuffled too, without a generator.
    """
    learner, generator = artifact.learner, artifact.generator
    features_BE = _features(learner, pixels_B3HW)
    own = learner.prompts(features_BE)
    if generator is None and not learner.own_prompts_need_image:
        return {OWN: own}
    alone = len(pixels_B3HW) == 1
    others_BE = features_BE.roll(-1, 0)
    if alone:
        others_BE = _features(learner, in_other_order(pixels_B3HW, seed))
    if generator is None:
        return {OWN: own, SHUFFLED: learner.prompts(others_BE)}
    flat_BF = learner.spec.pack(own)
    made = learner.spec.unpack(generator.sample(features_BE, flat_BF))
    return {
        OWN: own,
        GENERATED: made,
        SHUFFLED: learner.spec.unpack(generator.sample(others_BE, flat_BF)),
    }


def in_other_order(pixels_B3HW: Tensor, seed: int, blocks: int = BLOCKS) -> Tensor:
    """Return pictures whose blocks changed places: the same colours, and nothing to recognise."""
    height, width = (size // blocks * blocks for size in pixels_B3HW.shape[2:])
    cut = pixels_B3HW[..., :height, :width].unflatten(3, (blocks, -1)).unflatten(2, (blocks, -1))
    cut = cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = torch.randperm(blocks**2, generator=torch_stream(seed, "blocks"))
    cut = cut[:, order.to(cut.device)].unflatten(1, (blocks, blocks)).permute(0, 3, 1, 4, 2, 5)
    out = pixels_B3HW.clone()
    out[..., :height, :width] = cut.flatten(4, 5).flatten(2, 3)
    return out


def shown(pixels_3HW: Tensor, preprocess: Preprocess) -> Image.Image:
    """Return what the tower sees as RGB."""
    pixels = pixels_3HW.cpu().float()
    if preprocess.do_normalize:
        mean, std = (
            torch.tensor(v)[:, None, None] for v in (preprocess.image_mean, preprocess.image_std)
        )
        pixels = pixels * std + mean
    rows = (255 * pixels.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(rows.contiguous().numpy())


def _views(
    learner: Learner,
    pixels_3HW: Tensor,
    classes: Classes,
    sets: Mapping[str, Prompts],
    name: str | None,
    most: int,
) -> tuple[str, dict[str, PromptView]]:
    logits = _logits(learner, classes, list(sets.values()))
    whole_KC = logits(pixels_3HW[None])[:, 0]
    best = list(sets).index(GENERATED) if GENERATED in sets else 0
    label = int(whole_KC[best].argmax()) if name is None else classes.names.index(name)

    def scores(pixels_N3HW: Tensor) -> Tensor:
        logits_KNC = logits(pixels_N3HW)
        return (logits_KNC[..., label] - logits_KNC.mean(2)).T

    maps, whole_K = occlusion(scores, pixels_3HW), scores(pixels_3HW[None])[0]
    out = {}
    for k, (kind, prompts) in enumerate(sets.items()):
        ranked = whole_KC[k].softmax(0).topk(min(most, len(classes)))
        out[kind] = PromptView(
            words=nearest_words(learner.clip, learner.spec, prompts, most=most, label=label),
            map=maps[k].cpu(),
            logit=float(whole_K[k]),
            guesses=tuple(
                (classes.names[i], p)
                for p, i in zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True)
            ),
        )
    return classes.names[label], out


def _logits(learner: Learner, classes: Classes, sets: Sequence[Prompts]) -> Scores:
    """Return what gives logits ``(K, N, C)`` of pictures; texts are encoded once, here.

    Prompts stay those of the whole picture: what is hidden changes what the tower sees, alone.
    """
    texts = [learner.text_features(classes, learner.render(prompts)) for prompts in sets]

    def logits(pixels_N3HW: Tensor) -> Tensor:
        images = _images(learner, pixels_N3HW)
        pairs = zip(sets, texts, strict=True)
        return torch.stack([learner.logits(images, classes, p, text) for p, text in pairs])

    return logits


def _images(learner: Learner, pixels_B3HW: Tensor) -> ImageBatch:
    index = torch.arange(len(pixels_B3HW), device=pixels_B3HW.device)
    images = ImageBatch(pixels_B3HW, None, index)
    images = replace(images, pixels=None, grid=learner.grid(images))
    if learner.needs.features:
        images = replace(images, features=learner.features(images))
    return images


def _features(learner: Learner, pixels_B3HW: Tensor) -> Tensor:
    index = torch.arange(len(pixels_B3HW), device=pixels_B3HW.device)
    parts = zip(pixels_B3HW.split(CHUNK), index.split(CHUNK), strict=True)
    return torch.cat([learner.features(ImageBatch(pixels, None, at)) for pixels, at in parts])

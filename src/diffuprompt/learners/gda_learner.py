"""Gaussian discriminant analysis of image features beside zero-shot logits (arXiv 2402.04087).

Legend: N training images (views count), C class, K classes of training, E embedding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from diffuprompt.clip import normalize
from diffuprompt.learners.base import TrainingImages
from diffuprompt.learners.class_rows import ClassRows, Head, rows_of
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.gaussians import chosen_alpha, discriminant, folds_of, gaussians
from diffuprompt.learners.methods.gda import GdaOptions


class Gda(ClassRows):
    """``scale * cosine + alpha * (f @ w_k + b_k)``; for ``w`` and ``b`` see `gaussians`.

    A new class gets a mean as well: of the ``neighbours`` training images nearest to its text
    feature and ``copies`` of that feature (the authors' base-to-new script). Everything is found in
    double precision on the CPU. Images are random views.

    What is ours: alpha is chosen on training pictures that are left out in turn (`chosen_alpha`),
    the authors' on validation pictures; a recipe may give it instead. Their base-to-new script
    inverts the mean of per-class covariances without factor and ridge, pinv(S); ours has both, as
    in few-shot. For new classes they make a precision anew, the mean over these of
    512 pinv((k - 1) S + tr(S) I) with S of each one's k nearest images around its text feature;
    ours is the one of training, whichever names it is asked for.

    One image of each class, and so one shot in one view, lies on its mean: the precision is zero
    and the answers are exactly zero-shot's. The recipe ``lite`` has one view.
    """

    options: GdaOptions
    weight: Tensor
    bias: Tensor
    precision: Tensor
    cloud: Tensor
    alpha: Tensor

    def allocate(self) -> None:
        """Make room for the rows, the precision and the features."""
        count, width = len(self.options.trained_classes), self.clip.config.embed_dim
        shapes = {"weight": (count, width), "bias": (count,), "precision": (width, width)}
        shapes |= {"cloud": (self.options.size, width), "alpha": ()}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, device=self.clip.device))

    def start(self, images: TrainingImages) -> None:
        """Note the trained classes and how many features there will be, and make room."""
        self.options = replace(self.options, size=len(images.labels) * self.options.views)
        super().start(images)

    @property
    def fit_views(self) -> int:
        """As many as count as images."""
        return self.options.views

    @torch.no_grad()
    def fit(self, images: TrainingImages) -> None:
        """Find means, precision and, where it is not given, alpha."""
        views = [normalize(images.view(view).cpu().double()) for view in range(self.fit_views)]
        feature_NE, label_M = torch.cat(views), images.labels.cpu()
        label_N, kind = label_M.repeat(len(views)), self.options.covariance
        found = gaussians(feature_NE, label_N, len(images.classes), kind)
        weight, bias = found.rows
        alpha = self.options.alpha
        if alpha is None:
            text = self.static_text(images.classes)
            assert text is not None
            zero_NK = float(self.clip.scale) * feature_NE @ normalize(text[0].cpu().double()).T
            fold_N = folds_of(label_M).repeat(len(views))
            alpha = chosen_alpha(feature_NE, label_N, zero_NK, fold_N, kind)
        self.weight.copy_(weight)
        self.bias.copy_(bias)
        self.precision.copy_(found.precision_EE)
        self.cloud.copy_(feature_NE)
        self.alpha.fill_(alpha)

    def head(self, classes: Classes, text: Tensor | None) -> Head:
        """Return rows of trained classes, and of new ones by what is near to their texts."""
        assert text is not None
        at_C = self.places(classes)
        weight_CE, bias_C = rows_of(self.weight, at_C), rows_of(self.bias, at_C)
        new_C = at_C < 0
        if bool(new_C.any()):
            weight_CE[new_C], bias_C[new_C] = discriminant(
                self._means(text[0][new_C]), self.precision
            )
        scale_C = self.clip.scale.expand(len(classes))
        return Head(scale_C, self.alpha * weight_CE, self.alpha * bias_C)

    def _means(self, text_CE: Tensor) -> Tensor:
        """Return the means ``(C, E)`` that stand for new classes with these texts."""
        text_CE = normalize(text_CE.to(self.cloud.dtype))
        count = min(self.options.neighbours, len(self.cloud))
        nearest_CM = (text_CE @ self.cloud.T).topk(count, dim=1).indices
        near_CE = self.cloud[nearest_CM].sum(1)
        return (near_CE + self.options.copies * text_CE) / (count + self.options.copies)

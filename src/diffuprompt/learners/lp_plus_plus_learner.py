"""LP++: block coordinate descent with step sizes that the data give (arXiv 2404.02285).

Legend: N training images, C class, K classes of training, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffuprompt.clip import normalize
from diffuprompt.learners.base import TrainingImages
from diffuprompt.learners.class_rows import ClassRows, Head, rows_of
from diffuprompt.learners.classes import Classes
from diffuprompt.learners.methods.lp_plus_plus import LpPlusPlusOptions


class LpPlusPlus(ClassRows):
    """``f @ (w_k + alpha_k t_k) + b_k`` of unit features f and t, fitted to the cross-entropy.

    The loss is convex. It is lowered in two blocks in turn, (w, b) and alpha, each by a gradient
    step of one over a bound of its curvature (section 3.2): no rate is set by hand. ``w`` starts at
    the mean feature of its class; all alpha start at ``options.alpha`` times the mean cosine of
    images with the text of their class (section 3.3; with 250, the authors' number).

    What is ours. The bounds hold for all classes moving at once: a softmax's Hessian is at most
    1/2, so they are ``lambda_max(F'F / N) / 2`` for (w, b) and ``mean(cosine_k^2) / 2`` for each
    alpha_k, and no step raises the loss; the paper's are for one class at a time (1/4). Both blocks
    move in every round, and the last values are kept: the released code has a momentum of 0.9 for
    (w, b), moves alpha in every tenth round only, and keeps the epoch that was best on validation
    pictures. The images are random views. A class that was not trained has its zero-shot logit.
    """

    options: LpPlusPlusOptions

    def allocate(self) -> None:
        """Make room for K rows, biases and factors of the text."""
        count, width = len(self.options.trained_classes), self.clip.config.embed_dim
        device = self.clip.device
        self.weight = nn.Parameter(torch.zeros(count, width, device=device))
        self.bias = nn.Parameter(torch.zeros(count, device=device))
        self.alpha = nn.Parameter(torch.zeros(count, device=device))

    @property
    def fit_views(self) -> int:
        """As many as count as images."""
        return self.options.views

    @torch.no_grad()
    def fit(self, images: TrainingImages) -> None:
        """Descend for ``options.steps`` rounds from where the data say."""
        dtype = self.weight.dtype
        views = [normalize(images.view(view).to(dtype)) for view in range(self.fit_views)]
        feature_NE, label_N = torch.cat(views), images.labels.repeat(len(views))
        text = self.static_text(images.classes)
        assert text is not None
        cosine_NK = feature_NE @ normalize(text[0].to(dtype)).T
        hot_NK = functional.one_hot(label_N, cosine_NK.shape[1]).to(dtype)
        self.weight.copy_(hot_NK.T @ feature_NE / hot_NK.sum(0).clamp_min(1)[:, None])
        self.bias.zero_()
        self.alpha.fill_(self.options.alpha * float((cosine_NK * hot_NK).sum(1).mean()))
        self._descend(feature_NE, cosine_NK, hot_NK)

    def _descend(self, feature_NE: Tensor, cosine_NK: Tensor, hot_NK: Tensor) -> None:
        count = len(feature_NE)
        ones = feature_NE.new_ones(count, 1)
        whole = torch.cat([feature_NE, ones], 1)  # the bias as one more weight
        largest = torch.linalg.eigvalsh(whole.T @ whole / count)[-1]
        bound = largest / 2
        bounds_K = (cosine_NK.square().mean(0) / 2).clamp_min(1e-12)

        def error_NK() -> Tensor:
            logits = feature_NE @ self.weight.T + self.bias + self.alpha * cosine_NK
            return (logits.softmax(1) - hot_NK) / count

        for _ in range(self.options.steps):
            slope = error_NK()
            self.weight.sub_(slope.T @ feature_NE / bound)
            self.bias.sub_(slope.sum(0) / bound)
            self.alpha.sub_((error_NK() * cosine_NK).sum(0) / bounds_K)

    def head(self, classes: Classes, text: Tensor | None) -> Head:
        """Return own rows beside the blended cosine; the plain cosine of other classes."""
        at_C = self.places(classes)
        scale = float(self.clip.scale)
        return Head(
            text_C=rows_of(self.alpha, at_C, new=scale),
            weight_CE=rows_of(self.weight, at_C),
            bias_C=rows_of(self.bias, at_C),
        )

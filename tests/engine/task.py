"""A tiny task of linear regression with noise, an average and an accumulator, for the loop."""

import torch
from torch import nn

from diffuprompt.engine.seeds import torch_stream


class Regression:
    """Everything that a resume could forget: weights, EMA, a count, data noise by step."""

    def __init__(self, *, fail_at=None, hook=None):
        self.weight = nn.Parameter(torch.randn(5, 3, generator=torch_stream(0, "init")))
        self.bias = nn.Parameter(torch.zeros(3))
        self.ema = torch.zeros(5, 3)
        self.epochs_done = 0
        self.fail_at, self.hook = fail_at, hook
        self.seen = []

    def parameters(self):
        return [self.weight, self.bias]

    def state(self):
        return {
            "params": {"weight": self.weight, "bias": self.bias},
            "ema": self.ema,
            "epochs_done": self.epochs_done,
        }

    def load_state(self, state):
        with torch.no_grad():
            self.weight.copy_(state["params"]["weight"])
            self.bias.copy_(state["params"]["bias"])
        self.ema, self.epochs_done = state["ema"], state["epochs_done"]

    def loss(self, epoch, step):
        self.seen.append((epoch, step))
        if self.hook is not None:
            self.hook(epoch, step)
        x = torch.randn(8, 5, generator=torch_stream(7, epoch, step))
        fit = (x @ self.weight + self.bias - x[:, :3]).square().mean()
        extra = fit.detach() * (float("nan") if (epoch, step) == self.fail_at else 1)
        return {"loss": fit + 0 * extra, "extra": extra}

    def after_step(self, epoch, step):
        self.ema = 0.9 * self.ema + 0.1 * self.weight.detach()

    def after_epoch(self, epoch):
        self.epochs_done += 1

    def bytes(self):
        tensors = [self.weight, self.bias, self.ema]
        return b"".join(t.detach().numpy().tobytes() for t in tensors) + bytes([self.epochs_done])

"""The gate of the fast text path: equal to the plain path over the whole context, always."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from diffuprompt.clip.changes import BlockChange, Dropout, LowRank, Norm, TowerChange
from diffuprompt.clip.config import TextConfig
from diffuprompt.clip.packing import Packing
from diffuprompt.clip.text import DROPPED, TextPlan, TextTower
from diffuprompt.clip.tokens import PromptedTokens, class_tokens, sentence_tokens
from diffuprompt.errors import DataError, PromptShapeError

VOCABULARY = 60
PLAIN = TextPlan(path="plain")


class WordTokenizer:
    """One token a letter; enough to make names of any length."""

    sot, eot, pad = VOCABULARY - 2, VOCABULARY - 1, 0

    def encode(self, text: str) -> list[int]:
        return [1 + (ord(ch) - ord(".")) % (VOCABULARY - 4) for ch in text if ch != " "]


def tower(dtype: torch.dtype = torch.float64, *, layers: int = 3, seed: int = 0) -> TextTower:
    torch.manual_seed(seed)
    config = TextConfig(
        width=16, layers=layers, heads=2, mlp_width=32, vocab_size=VOCABULARY, context_length=77,
        sot=VOCABULARY - 2, eot=VOCABULARY - 1, pad=0,
    )  # fmt: skip
    model = TextTower(config, embed_dim=12).to(dtype)
    for name, p in model.named_parameters():  # biases and norms must not hide mistakes
        if "bias" in name or "ln_" in name:
            torch.nn.init.normal_(p, mean=float("weight" in name), std=0.3)
    return model.requires_grad_(False)


def names(rng: random.Random, count: int, longest: int = 40) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(rng.choices(letters, k=rng.randint(1, longest))) for _ in range(count)]


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference as a share of the largest entry."""
    return float((a - b).abs().max() / b.abs().max())


def features_and_gradients(
    model: TextTower,
    tokens: PromptedTokens,
    prompts: dict[int, Tensor],
    plan: TextPlan,
    change: TowerChange | None = None,
) -> list[Tensor]:
    """Features, then gradients by the prompts and by all tensors of the change."""
    leaves = {k: p.clone().requires_grad_() for k, p in prompts.items()}
    out = model(tokens, leaves, plan, change)
    weights = torch.cos(torch.arange(out[0].numel(), dtype=out.dtype)).view_as(out[0])
    by = [*leaves.values(), *(change.tensors() if change is not None else ())]
    grads = torch.autograd.grad((out * weights).sum(), by) if by else ()
    return [out.detach(), *grads]


def some_change(
    seed: int, dtype: torch.dtype = torch.float64, *, dropout: float = 0.0
) -> TowerChange:
    """Low-rank pairs of all blocks and norms of some, which move features by a good part."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int, mean: float = 0.0, std: float = 0.3) -> Tensor:
        x = mean + std * torch.randn(shape, generator=generator, dtype=dtype)
        return x.requires_grad_()

    def pair(place: int) -> LowRank:
        drop = Dropout(dropout, seed + place) if dropout else None
        return LowRank(leaf(2, 16), leaf(16, 2), drop)

    def norm() -> Norm:
        return Norm(leaf(16, mean=1.0), leaf(16))

    blocks = {0: BlockChange(q=pair(0), v=pair(1), ln_2=norm())}
    blocks[1] = BlockChange(k=pair(2), ln_1=norm())
    blocks[2] = BlockChange(q=pair(3), k=pair(4), v=pair(5), ln_1=norm(), ln_2=norm())
    return TowerChange(blocks=blocks, ln_last=norm())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.sampled_from([1, 2, 3]),
    classes=st.sampled_from([1, 2, 7, 20]),
    num_ctx=st.integers(1, 6),
    deep=st.sets(st.integers(1, 2)),
    kind=st.sampled_from(["static", "sample", "mixed", "class"]),
    position=st.sampled_from(["end", "middle", "front"]),
    spread=st.sampled_from([1.0, 2.0, 100.0]),
    changed=st.booleans(),
)
def test_fast_path_equals_plain(
    seed, batch, classes, num_ctx, deep, kind, position, spread, changed
):
    rng = random.Random(seed)
    tokens = class_tokens(
        WordTokenizer(), names(rng, classes), prefix=None, num_ctx=num_ctx, position=position
    )
    generator = torch.Generator().manual_seed(seed)

    def prompt(layer: int) -> Tensor:
        b = 1 if kind == "static" or (kind == "mixed" and layer == 0) else batch
        c = classes if kind == "class" else 1
        return torch.randn(b, c, num_ctx, 16, generator=generator, dtype=torch.float64)

    prompts = {layer: prompt(layer) for layer in {0, *deep}}
    model, change = tower(), some_change(seed) if changed else None
    plain = features_and_gradients(model, tokens, prompts, PLAIN, change)
    vars(tokens)["packing"] = Packing.of(tokens.ids, tokens.eot, tokens.slots, spread=spread)
    for path in ("fast", "truncated"):
        ours = features_and_gradients(model, tokens, prompts, TextPlan(path=path), change)
        for a, b in zip(ours, plain, strict=True):
            # fp64 rounding through three layers; a wrong mask or position is 1e-2 and more.
            assert relative(a, b) < 1e-11


@pytest.mark.parametrize(("classes", "changed"), [(1, False), (1000, False), (100, True)])
def test_fast_path_equals_plain_in_fp32(classes, changed):
    rng = random.Random(classes)
    tokens = class_tokens(WordTokenizer(), names(rng, classes), prefix=None, num_ctx=4)
    assert classes == 1 or tokens.packing.buckets[-1].length >= 40
    prompts = {layer: torch.randn(1, 1, 4, 16) * 0.5 for layer in (0, 1)}
    model = tower(torch.float32)
    change = some_change(classes, torch.float32) if changed else None
    plain = features_and_gradients(model, tokens, prompts, PLAIN, change)
    ours = features_and_gradients(model, tokens, prompts, TextPlan(), change)
    for a, b in zip(ours, plain, strict=True):
        assert relative(a, b) < 1e-4  # the gate of the issue


def test_a_change_is_other_weights_and_none_is_the_tower():
    """Against a tower whose weights are those that the change describes."""
    sentences = sentence_tokens(WordTokenizer(), ["abcd cat.", "ab owls."])
    model, other, change = tower(), tower(), some_change(1)
    before = model(sentences)
    with torch.no_grad():
        for layer, part in change.blocks.items():
            block = other.blocks[layer]
            rows = block.attn.qkv.weight.view(3, 16, 16)
            for i, pair in enumerate((part.q, part.k, part.v)):
                if pair is not None:
                    rows[i] += pair.up @ pair.down
            for norm, new in ((block.ln_1, part.ln_1), (block.ln_2, part.ln_2)):
                if new is not None:
                    norm.weight.copy_(new.weight)
                    norm.bias.copy_(new.bias)
        other.ln_final.weight.copy_(change.ln_last.weight)
        other.ln_final.bias.copy_(change.ln_last.bias)
    assert relative(model(sentences, change=change).detach(), other(sentences)) < 1e-12
    assert relative(before, other(sentences)) > 0.1
    assert torch.equal(model(sentences, change=TowerChange()), before)
    assert torch.equal(model(sentences), before), "the tower itself is as it was"


def test_dropout_of_a_change_follows_its_seed_and_is_the_same_when_computed_again():
    tokens = class_tokens(WordTokenizer(), ["abc", "a", "abcdef"], prefix=None, num_ctx=2)
    prompts, model = {0: torch.randn(2, 1, 2, 16, dtype=torch.float64)}, tower()
    change = some_change(1, dropout=0.25)
    once = features_and_gradients(model, tokens, prompts, TextPlan(), change)
    again = features_and_gradients(model, tokens, prompts, TextPlan(recompute=True), change)
    for a, b in zip(again, once, strict=True):
        assert relative(a, b) < 1e-12
    assert relative(model(tokens, prompts, change=some_change(1)).detach(), once[0]) > 1e-3
    x = torch.ones(400, 300, dtype=torch.float64)
    kept = Dropout(0.25, 3)(x)
    assert torch.equal(kept, Dropout(0.25, 3)(x))
    assert not torch.equal(kept, Dropout(0.25, 4)(x))
    assert set(kept.unique().tolist()) == {0.0, 1 / 0.75}
    assert abs(float(kept.mean()) - 1) < 0.01  # six deviations of 120,000 draws


def test_masks_of_dropout_do_not_follow_the_memory_budget():
    tokens = class_tokens(
        WordTokenizer(), names(random.Random(3), 300), prefix=None, num_ctx=2, position="end"
    )
    prompts, model = {0: torch.randn(1, 1, 2, 16, dtype=torch.float64)}, tower()
    change, small = some_change(1, dropout=0.25), TextPlan(memory_mib=1)
    leaves = {0: prompts[0].clone().requires_grad_()}
    assert model._chunks(tokens, leaves, small, 1, change)[2], "too little to be kept"
    assert not model._chunks(tokens, leaves, TextPlan(), 1, change)[2]
    whole = features_and_gradients(model, tokens, prompts, TextPlan(), change)
    parts = features_and_gradients(model, tokens, prompts, small, change)
    for a, b in zip(parts, whole, strict=True):
        assert relative(a, b) < 1e-12
    with torch.no_grad():
        assert relative(model(tokens, prompts, small, change), whole[0]) < 1e-12
    equal = class_tokens(WordTokenizer(), ["abc"] * 2 * DROPPED, prefix=None, num_ctx=2)
    first, second = model(equal, prompts, change=change).detach().split(DROPPED, dim=1)
    assert relative(first, second) > 1e-3, "each chunk has masks of its own"


def test_a_change_that_does_not_fit_says_where():
    sentences, flat = sentence_tokens(WordTokenizer(), ["cat"]), torch.zeros(8)
    wrong = TowerChange(
        blocks={7: BlockChange(), 1: BlockChange(q=LowRank(torch.zeros(2, 8), torch.zeros(8, 2)))},
        ln_first=Norm(flat, flat),
    )
    with pytest.raises(PromptShapeError) as caught:
        tower()(sentences, change=wrong)
    for part in (
        "changes of the text tower: layer 7 is outside 0..2",
        "layer 1, q: expected (R, 16) and (16, R), got (2, 8) and (8, 2)",
        "ln_first: a text tower has no norm before its blocks",
        "ln_first: expected (16,) twice, got (8,) and (8,)",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("memory_mib", [1, 2])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("position", ["end", "front"])
def test_chunking_changes_nothing(memory_mib, recompute, position):
    tokens = class_tokens(
        WordTokenizer(), names(random.Random(3), 40), prefix=None, num_ctx=3, position=position
    )
    prompts = {layer: torch.randn(5, 1, 3, 16, dtype=torch.float64) for layer in (0, 2)}
    model = tower()
    small = TextPlan(memory_mib=memory_mib, recompute=recompute)
    leaves = {k: p.clone().requires_grad_() for k, p in prompts.items()}
    images, classes, _ = model._chunks(tokens, leaves, small, 5)
    assert images < 5 or classes < 40, "the budget must force chunks for this test to mean anything"
    change = some_change(2) if position == "end" else None
    whole = features_and_gradients(model, tokens, prompts, TextPlan(memory_mib=10**6), change)
    parts = features_and_gradients(model, tokens, prompts, small, change)
    for a, b in zip(parts, whole, strict=True):
        assert relative(a, b) < 1e-12
    with torch.no_grad():
        assert relative(model(tokens, prompts, small, change), whole[0]) < 1e-12


def test_batch_is_the_same_as_one_at_a_time():
    tokens = class_tokens(WordTokenizer(), names(random.Random(1), 6), prefix=None, num_ctx=2)
    prompts = torch.randn(4, 1, 2, 16, dtype=torch.float64)
    model = tower()
    together = model(tokens, {0: prompts})
    alone = torch.cat([model(tokens, {0: prompts[i : i + 1]}) for i in range(4)])
    assert relative(together, alone) < 1e-12


def test_class_order_permutes_features():
    rng = random.Random(2)
    labels = names(rng, 9)
    shuffled = rng.sample(range(9), 9)
    tokenizer, model = WordTokenizer(), tower()
    prompts = {0: torch.randn(2, 1, 2, 16, dtype=torch.float64)}
    a = model(class_tokens(tokenizer, labels, prefix=None, num_ctx=2), prompts)
    b = model(
        class_tokens(tokenizer, [labels[i] for i in shuffled], prefix=None, num_ctx=2), prompts
    )
    assert relative(a[:, shuffled], b) < 1e-12


def test_words_as_prompts_are_plain_clip():
    """Initial words given as vectors equal the same words as tokens."""
    tokenizer, model = WordTokenizer(), tower()
    tokens = class_tokens(tokenizer, ["cat", "owl"], prefix="abcd", num_ctx=4)
    words = model.embed(tokens.ids[0, 1:5])[None, None]
    sentences = sentence_tokens(tokenizer, ["abcd cat.", "abcd owl."])
    assert relative(model(tokens, {0: words}), model(sentences)) < 1e-12
    assert relative(model(tokens), model(sentences)) < 1e-12


def test_two_prompts_keep_the_other_words():
    """MaPLe with M=2: ``[SOT][v1][v2] of a {class}.``; the fixed words join the shared prefix."""
    tokens = class_tokens(WordTokenizer(), ["cat", "owl"], prefix="abcd", num_ctx=2)
    assert tokens.ids[0, :8].tolist() == [58, *WordTokenizer().encode("abcdcat")]
    assert len(tokens.packing.prefix_ids) == 5


def test_prefix_states_never_depend_on_the_class_count():
    tokens = class_tokens(WordTokenizer(), ["ab", "ac", "b"], prefix=None, num_ctx=4)
    assert tokens.packing.num_tokens == 5 + 4 + 4 + 3


def test_an_accelerator_pads_names_of_similar_length_to_one():
    tokens = class_tokens(WordTokenizer(), ["abcdefgh", "abc", "a", "bcd"], prefix=None, num_ctx=2)
    exact = Packing.of(tokens.ids, tokens.eot, tokens.slots)
    padded = Packing.of(tokens.ids, tokens.eot, tokens.slots, spread=3.0)
    assert [(b.length, b.count, b.padded) for b in exact.buckets] == [
        (3, 1, False), (5, 2, False), (10, 1, False)
    ]  # fmt: skip
    assert [(b.length, b.count, b.padded) for b in padded.buckets] == [(3, 1, False), (10, 3, True)]
    assert not exact.padding.any()
    assert int(padded.padding.sum()) == 2 * 5
    for packing in (exact, padded):
        assert torch.equal(packing.suffix_ids[packing.ends], torch.full((4,), tokens.ids.max()))


def test_layout_from_inference_mode_serves_training():
    model = tower()
    with torch.inference_mode():
        tokens = class_tokens(WordTokenizer(), ["cat", "owls"], prefix=None, num_ctx=2)
        model(tokens, {0: torch.randn(1, 1, 2, 16, dtype=torch.float64)})
    leaf = torch.randn(1, 1, 2, 16, dtype=torch.float64, requires_grad=True)
    model(tokens, {0: leaf}).sum().backward()
    assert leaf.grad.abs().sum() > 0


def test_errors_name_the_text_and_the_shape():
    with pytest.raises(DataError, match="do not fit into 77 tokens, the first is 'aaaa"):
        class_tokens(WordTokenizer(), ["a" * 80], prefix=None, num_ctx=4)
    with pytest.raises(DataError, match="has no tokens"):
        class_tokens(WordTokenizer(), ["  "], prefix=None, num_ctx=4)
    tokens = class_tokens(WordTokenizer(), ["cat", "owl"], prefix=None, num_ctx=4)
    model = tower()
    with pytest.raises(PromptShapeError, match=r"layer 0: expected \(B\|1, 2\|1, 4, 16\)"):
        model(tokens, {0: torch.zeros(1, 1, 3, 16)})
    with pytest.raises(PromptShapeError, match=r"layer 7 is outside 0\.\.2"):
        model(tokens, {0: torch.zeros(1, 1, 4, 16), 7: torch.zeros(1, 1, 4, 16)})
    with pytest.raises(PromptShapeError, match="disagree on the number of images"):
        model(tokens, {0: torch.zeros(2, 1, 4, 16), 1: torch.zeros(3, 1, 4, 16)})

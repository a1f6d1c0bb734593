r"""Names of learned tensors in the methods' own repositories, and ours for them; no torch.

Each pair is a pattern of a whole key and its replacement, in which ``<\1>`` is the number plus
one: the repositories count deep layers from 0, we count the input as layer 0.
"""

from __future__ import annotations

LegacyKeys = tuple[tuple[str, str], ...]

CONTEXT: LegacyKeys = ((r"(?:prompt_learner\.)?ctx", "ctx"),)
SHARED_CONTEXT: LegacyKeys = ((r"(?:prompt_learner\.)?ctx", "family.text.0"),)
META_NET: LegacyKeys = (
    (r"(?:prompt_learner\.)?meta_net\.(linear[12]\.(?:weight|bias))", r"meta_net.\1"),
)
VISION: LegacyKeys = (
    (r"image_encoder\.VPT", "family.vision.0"),
    (r"image_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", r"family.vision.\1"),
)
TEXT: LegacyKeys = (
    (r"prompt_learner\.ctx", "family.text.0"),
    (r"text_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", r"family.text.\1"),
)
COUPLED: LegacyKeys = (
    (r"prompt_learner\.ctx", "family.text.0"),
    (r"prompt_learner\.proj\.(weight|bias)", r"family.maps.0.\1"),
    (r"prompt_learner\.compound_prompts_text\.(\d+)", r"family.text.<\1>"),
    (
        r"prompt_learner\.compound_prompt_projections\.(\d+)\.(weight|bias)",
        r"family.maps.<\1>.\2",
    ),
)
IMAGE_ADAPTER: LegacyKeys = (  # CLIP-Adapter's file holds its network alone
    (r"(?:adapter\.)?fc\.0\.weight", "adapters.image.down.weight"),
    (r"(?:adapter\.)?fc\.2\.weight", "adapters.image.up.weight"),
)
ADAPTERS: LegacyKeys = (
    (r"adapter_(image|text)\.fc\.0\.weight", r"adapters.\1.down.weight"),
    (r"adapter_(image|text)\.fc\.2\.weight", r"adapters.\1.up.weight"),
)

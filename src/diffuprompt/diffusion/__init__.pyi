from .amed import (
    plan as plan,
)
from .amed_fit import (
    AmedFit as AmedFit,
)
from .amed_fit import (
    Start as Start,
)
from .amed_fit import (
    fit_amed as fit_amed,
)
from .amed_predictor import (
    AmedPredictor as AmedPredictor,
)
from .attention import (
    Block as Block,
)
from .attention import (
    dropout as dropout,
)
from .attention import (
    linear as linear,
)
from .condition import (
    Pi as Pi,
)
from .condition import (
    PiNetwork as PiNetwork,
)
from .denoiser import (
    make_denoiser as make_denoiser,
)
from .ema import (
    Ema as Ema,
)
from .grids import (
    GRIDS as GRIDS,
)
from .grids import (
    make_grid as make_grid,
)
from .loss import (
    denoising_loss as denoising_loss,
)
from .samplers import (
    NEEDS_FIT as NEEDS_FIT,
)
from .samplers import (
    NEEDS_NOISE as NEEDS_NOISE,
)
from .samplers import (
    SAMPLERS as SAMPLERS,
)
from .samplers import (
    get_sampler as get_sampler,
)
from .sampling import (
    Counted as Counted,
)
from .sampling import (
    Denoise as Denoise,
)
from .sampling import (
    Sampler as Sampler,
)
from .schedule import (
    make_schedule as make_schedule,
)
from .targets import (
    per_row as per_row,
)
from .token_codec import (
    TokenCodec as TokenCodec,
)
from .token_codec import (
    TokenGroup as TokenGroup,
)
from .transformer import (
    TokenTransformer as TokenTransformer,
)
from .transformer import (
    TransformerConfig as TransformerConfig,
)

from .amed import plan as plan
from .amed_fit import AmedFit as AmedFit, Start as Start, fit_amed as fit_amed
from .amed_predictor import AmedPredictor as AmedPredictor
from .attention import Block as Block, dropout as dropout, linear as linear
from .condition import Pi as Pi, PiNetwork as PiNetwork
from .denoiser import make_denoiser as make_denoiser
from .ema import Ema as Ema
from .grids import GRIDS as GRIDS, make_grid as make_grid
from .loss import denoising_loss as denoising_loss
from .samplers import (
    NEEDS_FIT as NEEDS_FIT,
    NEEDS_NOISE as NEEDS_NOISE,
    SAMPLERS as SAMPLERS,
    get_sampler as get_sampler,
)
from .sampling import Counted as Counted, Denoise as Denoise, Sampler as Sampler
from .schedule import Schedule as Schedule, make_schedule as make_schedule
from .targets import per_row as per_row
from .token_codec import TokenCodec as TokenCodec, TokenGroup as TokenGroup
from .transformer import (
    TokenTransformer as TokenTransformer,
    TransformerConfig as TransformerConfig,
)

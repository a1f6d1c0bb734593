from .bench import (
    Bench as Bench,
)
from .budget import (
    Budget as Budget,
)
from .features import (
    FeatureStore as FeatureStore,
)
from .generator import (
    generator_stage as generator_stage,
)
from .generator import (
    joint_base as joint_base,
)
from .generator import (
    train_generator as train_generator,
)
from .grids import (
    GridStore as GridStore,
)
from .image_set import (
    ImageSet as ImageSet,
)
from .inputs import (
    Sentences as Sentences,
)
from .inputs import (
    scoring_key as scoring_key,
)
from .inputs import (
    sentences_key as sentences_key,
)
from .inputs import (
    training_key as training_key,
)
from .learner import (
    learner_stage as learner_stage,
)
from .learner import (
    trained as trained,
)
from .learner import (
    untrained as untrained,
)
from .makers import (
    control_prompts as control_prompts,
)
from .makers import (
    generated_prompts as generated_prompts,
)
from .makers import (
    oracle_prompts as oracle_prompts,
)
from .overfit import (
    Targets as Targets,
)
from .overfit import (
    overfit_stage as overfit_stage,
)
from .overfit import (
    targets as targets,
)
from .sampler import (
    ready_sampler as ready_sampler,
)
from .sampler import (
    sampler_stage as sampler_stage,
)
from .score import (
    Ask as Ask,
)
from .score import (
    Maker as Maker,
)
from .score import (
    score_stage as score_stage,
)
from .score import (
    scored as scored,
)

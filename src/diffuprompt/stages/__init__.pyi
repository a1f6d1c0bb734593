from .bench import Bench as Bench
from .budget import Budget as Budget
from .features import FeatureStore as FeatureStore
from .generator import (
    generator_stage as generator_stage,
    joint_base as joint_base,
    train_generator as train_generator,
)
from .grids import GridStore as GridStore
from .image_set import ImageSet as ImageSet
from .inputs import (
    Sentences as Sentences,
    picture_hashes as picture_hashes,
    scoring_key as scoring_key,
    sentences_key as sentences_key,
    training_key as training_key,
)
from .learner import learner_stage as learner_stage, trained as trained, untrained as untrained
from .makers import (
    control_prompts as control_prompts,
    generated_prompts as generated_prompts,
    oracle_prompts as oracle_prompts,
)
from .overfit import Targets as Targets, overfit_stage as overfit_stage, targets as targets
from .sampler import ready_sampler as ready_sampler, sampler_stage as sampler_stage
from .score import Ask as Ask, Maker as Maker, score_stage as score_stage, scored as scored

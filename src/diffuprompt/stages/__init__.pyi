from .bench import Bench as Bench
from .budget import Budget as Budget
from .calibration import (
    auroc as auroc,
    best_threshold as best_threshold,
    crossed as crossed,
    error_of as error_of,
    fitted_temperature as fitted_temperature,
    fpr_at_tpr as fpr_at_tpr,
    is_closer as is_closer,
    logits_of as logits_of,
    threshold_of as threshold_of,
)
from .features import FeatureStore as FeatureStore
from .generator import (
    generator_stage as generator_stage,
    joint_base as joint_base,
    train_generator as train_generator,
)
from .grids import GridStore as GridStore
from .grounding.bench import GroundingBench as GroundingBench
from .grounding.generator import (
    mask_generator_stage as mask_generator_stage,
    trained_generator as trained_generator,
    trained_independent as trained_independent,
)
from .grounding.maps import made_maps as made_maps, maps_stage as maps_stage
from .grounding.method import method_stage as method_stage, trained_method as trained_method
from .grounding.score import (
    Found as Found,
    grounding_score_stage as grounding_score_stage,
    scored_expressions as scored_expressions,
)
from .grounding.sets import expressions_stage as expressions_stage, made_set as made_set
from .grounding.vae import trained_vae as trained_vae, vae_stage as vae_stage
from .image_part import ImagePart as ImagePart, part_of as part_of
from .image_set import ImageSet as ImageSet
from .inputs import (
    Sentences as Sentences,
    picture_hashes as picture_hashes,
    scoring_key as scoring_key,
    sentences_key as sentences_key,
    training_key as training_key,
)
from .learner import (
    learner_stage as learner_stage,
    trained as trained,
    untrained as untrained,
    warm_for as warm_for,
)
from .makers import (
    control_prompts as control_prompts,
    generated_prompts as generated_prompts,
    oracle_prompts as oracle_prompts,
)
from .open_world import ZeroShotForNew as ZeroShotForNew
from .overfit import Targets as Targets, overfit_stage as overfit_stage, targets as targets
from .sampler import ready_sampler as ready_sampler, sampler_stage as sampler_stage
from .score import (
    Ask as Ask,
    Maker as Maker,
    Result as Result,
    Scored as Scored,
    score_stage as score_stage,
    scored as scored,
)

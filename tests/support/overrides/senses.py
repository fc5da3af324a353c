"""Which values of a key make sense, by what the key means: written by hand, not read from a schema.

Bounds are generous: beyond them a value cannot be meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

Sense = Callable[[Any], bool]


def number(low: float, high: float = 1e9, *, zero: bool = False) -> Sense:
    """A finite number from `low` to below `high`, or zero."""

    def sense(value: Any) -> bool:
        value = _number(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return math.isfinite(value) and (low <= value < high or (zero and value == 0))

    return sense


def _number(value: Any) -> Any:
    """Return the number that a text writes, which YAML's readers take for it."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def whole(low: int, high: float = 1e9) -> Sense:
    """A whole number from `low` to below `high`, also as 1e1."""
    return lambda value: type(value) in (int, float) and value % 1 == 0 and low <= value < high


def text(value: Any) -> bool:
    """A text that can name a folder; YAML's numbers and truths are texts too."""
    return isinstance(value, (str, int, float)) and value != "" and len(str(value)) < 250


def flag(value: Any) -> bool:
    return isinstance(value, bool) or (type(value) is int and value in (0, 1))


def one_of(*names: str) -> Sense:
    return lambda value: value in names


def null_or(sense: Sense) -> Sense:
    return lambda value: value is None or sense(value)


def either(*senses: Sense) -> Sense:
    return lambda value: any(sense(value) for sense in senses)


def each(sense: Sense, fewest: int = 0) -> Sense:
    """A list; a single value counts as a list of one."""

    def all_of(value: Any) -> bool:
        values = value if isinstance(value, list) else [value]
        return len(values) >= fewest and all(map(sense, values))

    return all_of


def never(value: Any) -> bool:
    """Nothing that is drawn here."""
    return False


def anything(value: Any) -> bool:
    """Nothing that reads it; whatever it is has no effect."""
    return True


def mapping(value: Any) -> bool:
    return value == {}


rate = number(0, 1e6)  # of learning, decay of weights, factors of both
weight = number(0, 1e9)
scale = number(1e-20, 1e9)  # what something is divided by, precisions, durations
share = number(0, 1 + 1e-12)
size = whole(1)
size_or_none = whole(0)
width = whole(1, 1e7)
seed = whole(0, 2**32)
names = either(text, lambda value: value is None)

# Of the keys of all commands, the first that matches; in method_kwargs null is the default.
MEANINGS: list[tuple[str, Sense]] = [
    (r"published\..*|dali\..*|(published|dali|momentum|backbone\.kwargs|trainer)", anything),
    (r"optimizer\.kwargs|entropy_kwargs|method_kwargs", mapping),
    (r"trainer\.gradient_clip_val", null_or(weight)),
    (r"trainer\.(max_epochs|accelerator|devices|nonsense|callbacks|logger)", never),
    (r"backbone\.kwargs\.(width|depth|embed_dim|num_heads|patch_size)", null_or(width)),
    (r"backbone\.kwargs\.nonsense", never),
    (r"backbone\.kwargs\..*", anything),
    # numbers of training
    (r"optimizer\.lr@linear", null_or(each(rate, 1))),
    (r"(.*\.)?lr|optimizer\.classifier_lr|optimizer\.weight_decay|scheduler\.(min_lr)", rate),
    (r"scheduler\.warmup_start_lr|optimizer\.multipliers\..*|optimizer\.backbone_lr_scale", rate),
    (r"entropy_kwargs\.norm", either(number(1), lambda value: value == math.inf)),
    (r"entropy_kwargs\.num_\w+", width),
    (r"entropy_kwargs\.clip_quantile", share),
    (r"entropy_kwargs\.\w+", scale),
    (r"objective\.entropy_kwargs\.norm", null_or(number(1))),
    (r"objective\.entropy_kwargs\.num_\w+", null_or(width)),
    (r"objective\.entropy_kwargs\.clip_quantile", null_or(share)),
    (r"objective\.entropy_kwargs\.\w+", null_or(scale)),
    (r"optimizer\.kwargs\.(eta|trust_coeff|eps)", rate),
    (r"optimizer\.kwargs\.(momentum|dampening)", share),
    (r"optimizer\.kwargs\.(nesterov|exclude_bias_n_norm|amsgrad)", flag),
    (r"optimizer\.kwargs\.betas", each(share, 2)),
    (r"optimizer\.layer_decay|label_smoothing", share),
    (r"optimizer\.batch_size@linear|image_size|.*\.crop_size", null_or(size)),
    (r"scheduler\.warmup_epochs", weight),
    (r"scheduler\.lr_decay_steps", null_or(each(size_or_none))),
    (r"max_epochs|.*batch_size|accumulate_grad_batches|num_nodes|checkpoint\.frequency", size),
    (r"num_images@diagnostics", whole(20)),
    (r"health\.num_samples|num_images|num_draws|jobs|restarts|entropy_samples|steps|hidden", size),
    (r"num_views", whole(2)),
    (r"num_train_images", null_or(whole(20))),
    (r"num_jacobian_images", size_or_none),
    (r"auto_resume\.max_hours", null_or(weight)),
    (r"devices", either(size, one_of("auto"), each(size_or_none, 1), lambda v: v == -1)),
    (r"precision", one_of("32-true", "bf16-mixed", "16-mixed", "32", "16", "bf16", 32, 16)),
    (r"accelerator", one_of("auto", "cpu", "gpu", "cuda", "mps")),
    (r"strategy", one_of("auto", "ddp", "fsdp")),
    (r"seeds", null_or(each(seed, 1))),
    (r"(.*\.)?seed", seed),
    # data of images
    (r"data\.fraction", null_or(either(number(1e-12, 1.0001), lambda v: v == -1))),
    (r"data\.(val_fraction|held_out|pair_match)", null_or(share)),
    (r"data\.(score_test|in_memory)", null_or(flag)),
    (r"resolution", null_or(each(number(1e-12, 1 + 1e-12)))),
    (r"statistics", null_or(one_of("batch", "whole"))),
    (r"data\.num_workers", null_or(whole(0, 1e5))),
    (r"data\.dataset", null_or(one_of("digits", "mnist", "moving_dot"))),
    (r"data\.format", null_or(one_of("auto", "torchvision", "image_folder", "dali"))),
    (r"data\.device", null_or(one_of("auto", "cpu", "gpu"))),
    (r"data\.(no_labels|download)|normalise_features", null_or(flag)),
    (r"data\.augmentations\.(mean|std)", null_or(each(share, 1))),
    (r"data\.channels", null_or(whole(1, 1e4))),
    (r"data\.(image_key|label_key|caption_key)", lambda value: value is None),  # of shards alone
    (r"data\.class_captions", null_or(never)),
    (r"data\.range", lambda value: value in (None, "auto", [1, 2])),
    (r"data\.(train_path|val_path|path)", anything),  # brackets may be part of a path
    (r".*\.entity", names),
    (r"augmentations\.0\.(crop_size|num_crops)", size),
    (r"augmentations\.0\.(mean|std)", null_or(each(share, 1))),
    (r"augmentations\.0\..*\.(prob|translate|hue|crop_\w+)", share),
    (r"augmentations\.0\..*\.(degrees|shear)", number(0, 181)),
    (r"augmentations\.0\..*", weight),
    (r"augmentations@(knn|linear|uncertainty|diagnostics)", null_or(mapping)),
    (r"augmentations", never),
    # method_kwargs
    (r"method_kwargs\.text\.(name|tokens|heads)", null_or(never)),
    (r"method_kwargs\.text\.vocabulary", null_or(whole(259, 1e7))),
    (r"method_kwargs\.text\.context", null_or(whole(2, 1e6))),
    (r"method_kwargs\.text\.\w+", null_or(width)),
    (r"(prompts|class_names)@zeroshot", null_or(each(text))),
    (r"method_kwargs\.(prompts|class_names)", null_or(never)),
    (r"method_kwargs\.largest_precision", null_or(number(10))),  # where siglip's starts
    (r"method_kwargs\.learn_precision", null_or(flag)),
    (r"method_kwargs\.bias",
     null_or(either(number(1e-20, 1000.1, zero=True), number(-1000, -1e-20)))),
    (r"method_kwargs\.norm", null_or(either(number(1), lambda value: value == math.inf))),
    (r"method_kwargs\.blocks", lambda value: value in (None, [])),  # of latent=product alone
    (r"method_kwargs\.(loss|context_scale|target_scale|target_aspect)", null_or(never)),
    (r"method_kwargs\.range_(scales|shares)", null_or(never)),
    (r"method_kwargs\.(latent|entropy|over|predictor|target|covariance|positions)", null_or(never)),
    (r"method_kwargs\.(predict|hidden|masks)", null_or(never)),
    (r"method_kwargs\.mask_share", null_or(number(1e-20, 1))),
    (r"method_kwargs\.pred_depth", null_or(whole(0, 1e4))),
    (r"method_kwargs\.(mask_unit|cell_size|target_blocks)", null_or(width)),
    (r"method_kwargs\.(\w*tau|\w*probability|clip_quantile|\w*momentum|\w*share)", null_or(share)),
    (r"method_kwargs\.covariance_warm_up", null_or(share)),
    (r"method_kwargs\.(\w*batch_norm|\w*whitening|leave_one_out|norm\w+|use_bn_in_head)",
     null_or(flag)),
    (r"method_kwargs\.equivariance_layer", null_or(whole(0, 1000))),
    (r"method_kwargs\.equivariance_samples", null_or(whole(2))),
    (r"method_kwargs\.proj_layers", null_or(whole(1, 1e4))),
    (r"method_kwargs\.(\w+_dim|num_\w+|\w+_rank|least_context|pred_num_heads)", null_or(width)),
    (r"method_kwargs\.(freeze_last_layer|\w+_epochs|queue_size)", null_or(whole(0))),
    (r"method_kwargs\.(\w+_weight|\w*ridge|temperature_decay|huber_beta)", null_or(weight)),
    (r"method_kwargs\.\w+", null_or(scale)),
    # time series
    (r"data\.(num_train|num_held_out|num_steps|num_sources|num_channels)", size),
    (r"data\.frame_size", null_or(size)),
    (r"data\.num_cells", width),
    (r"data\.num_systems", whole(1, 2)),  # more need rendering=random_network
    (r"data\.folds", whole(2, 1e6)),
    (r"data\.fold", whole(0, 1e6)),
    (r"data\.(directional|theta_depth|jump_rate)", share),
    (r"data\.(held_out_share)", share),
    (r"data\.(\w+_noise|\w+_hz|min_speed|pause_seconds|min_seconds|max_gap_seconds)",
     null_or(weight)),
    (r"data\.period_seconds", null_or(scale)),
    (r"data\.bin_seconds", null_or(scale)),
    (r"data\.(\w+_seconds|\w+_metres|running_speed)", scale),
    (r"data\.(time_constants_seconds|variances)", each(scale, 1)),
    (r"data\.(random_phase|running_only)", flag),
    (r"data\.pauses", one_of("cut", "keep")),
    (r"data\.time_unit", null_or(each(either(scale, one_of("s", "ms", "us", "min"))))),
    (r"data\.targets", null_or(lambda value: isinstance(value, dict))),
    (r"data\.signal_series", names),
    (r"data\.trials", null_or(flag)),
    (r"data\.stamp", null_or(one_of("centre", "start"))),
    (r"data\.(motion|mixing|rendering|observation_noise_kind)", never),
    (r"data\.(window|stride|frame_columns)", null_or(size)),
    (r"data\.frame_rate", null_or(scale)),
    (r"data\.gray", flag),
    (r"data\.targets_path", names),  # which is read later
    (r"data\.split", one_of("clips", "blocks", "contiguous")),
    (r"data\.held_out_position", one_of("start", "middle", "end")),
    (r"encoder\.backbone_kwargs", null_or(lambda value: isinstance(value, dict))),
    (r"encoder\.backbone_kwargs\.\w+", anything),  # which the network takes or not
    (r"encoder\.pooling", null_or(one_of("own"))),
    (r"encoder\.frame_shape", null_or(each(size))),  # which the data have or not
    (r"encoder\.backbone", null_or(one_of("convnet_small"))),
    (r"encoder\.feature_dropout", share),
    (r"encoder\.standardise", flag),
    (r"(encoder|predictor)\.(num_hidden_layers|head_num_hidden_layers)", whole(0, 1e4)),
    (r"predictor\.(max_radius|initial_process_noise)", scale),
    (r"predictor\.initial_transition", null_or(number(-1e3, 1e3))),
    (r"predictor\.state_dim", null_or(width)),
    (r"(encoder|predictor|decoders\.\w+)\.\w*(_dim|num_layers|num_records)", width),
    (r"encoder\.activation", one_of("relu", "elu", "gelu", "tanh")),
    (r"(encoder|predictor)\.\w+", never),
    (r"objective\.(weight)", weight),
    (r"objective\.(num_samples)", size),
    (r"objective\.(first_step)", size_or_none),
    (r"objective\.entropy_kwargs", null_or(mapping)),
    (r"objective\.\w+|decoders\.\w+\.(kind|source)", never),
    (r"decoders\.\w+\.target", names),
    (r"decoders\.\w+", mapping),
    (r"data|encoder|predictor|objective|optimizer|scheduler|checkpoint|decoders", mapping),
    (r"evaluation\.compare_gradients_every", size_or_none),
    (r"evaluation\.smoothing_seconds", each(scale)),
    (r"evaluation\.kinds", each(one_of("linear", "mlp"))),
    (r"evaluation\.(targets)", null_or(each(text))),
    (r"evaluation\.identify", names),
    (r"protocols@zeroshot", each(one_of("zero-shot", "retrieval"), 1)),
    (r"(evaluation\.)?protocols", each(one_of("knn-20"))),
    # evaluations and studies
    (r"k", each(size, 1)),
    (r"num_patches@linear", lambda value: value is None),  # the protocol there trains on views
    (r"num_patches", null_or(size)),
    (r"patch_share", lambda value: value is None),  # it goes with num_patches
    (r"temperature", each(scale, 1)),
    (r"distance", each(one_of("cosine", "euclidean"), 1)),
    (r"mixup|cutmix", weight),
    (r"strengths", each(weight, 2)),
    (r"levels", each(share, 1)),
    (r"threshold", share),
    (r"smallest_shape", number(1e-12, 1.5)),
    (r"num_sources", whole(2, 1e7)),
    (r"images\.size", whole(8, 1000)),
    (r"step_seconds", scale),
    (r"(generalised_gaussian|ornstein_uhlenbeck)\.num_\w+", size),
    (r"(generalised_gaussian|ornstein_uhlenbeck)\.\w+", null_or(each(scale))),
    (r"cases", each(one_of("holds", "blind"), 1)),
    (r"model|task|unmixing|images\.statistics|entropy|protocol|rank_by", null_or(never)),
    (r"mixtures|resume_from_checkpoint|pretrained_feature_extractor|run", null_or(never)),
    (r"methods", each(never)),
    (r"overrides", each(never)),
    # texts and switches
    (r"backbone\.name@(knn|linear|uncertainty|diagnostics)", null_or(text)),
    (r"(backbone|optimizer|scheduler)\.name", never),
    (r"method|scheduler\.interval|format@latents", never),
    (r"name", text),
    (r"checkpoint\.dir", lambda value: value != ""),
    (r"wandb\.project", text),
    (r"train", flag),
    (r"output|folder|copy_to|records|pretrain_method", null_or(anything)),
    (r".*\.(enabled|offline|report|keep_prev|compile|disable_channel_last)|sync_batchnorm", flag),
    (r"optimizer\.exclude_bias_n_norm_wd|finetune|auto_augment", flag),
]  # fmt: skip


def sense_of(command: str, key: str) -> Sense | None:
    """Return which values of a key of a command make sense, None for a key that is not known."""
    for pattern, sense in MEANINGS:
        if re.fullmatch(pattern, f"{key}@{command}") or re.fullmatch(pattern, key):
            return sense
    return None

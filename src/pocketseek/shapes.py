"""What mixture-of-experts layers and latent attention (MLA) look like. Frozen values that cross rooms, like types.py.

DeepSeek's names for the same things are in brackets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RouterScore = Literal["softmax", "sigmoid"]
GroupScore = Literal["best", "best_two"]


@dataclass(frozen=True)
class MlaShape:
    """Attention whose keys and values are made of one latent vector per token, which is what the cache holds.

    A query head has nope_dim values that know no position and then rope_dim rotated ones; the key is the latent of
    `rank` values (kv_lora_rank), multiplied into each head's own space, and rope_dim rotated values that all heads
    share. q_rank: queries come through a vector of that size (q_lora_rank); 0: they do not.
    score_factor: multiplies scores besides 1 / sqrt(nope_dim + rope_dim): the square of yarn's mscale_all_dim.
    """

    rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    q_rank: int = 0
    score_factor: float = 1.0

    @property
    def latent_dim(self) -> int:
        """Values that the cache holds for a token and layer."""
        return self.rank + self.rope_dim


@dataclass(frozen=True)
class MoeShape:
    """Layers in which every token chooses a few of many small MLPs, the experts.

    expert_size: inner size of an expert (moe_intermediate_size). shared_size: of the one that all tokens go through
    (n_shared_experts times that); 0: there is none. dense_layers: those that have an ordinary MLP instead, ascending.
    score: what the router's outputs go through. Experts form num_groups runs of equal length; only those in the
    groups_per_token best groups can be chosen, a group being as good as its best expert or as the sum of its best two.
    score_bias: a learned bias is added to the scores for choosing, and for nothing else (e_score_correction_bias).
    normalised: the weights of the chosen ones are divided by their sum (norm_topk_prob). weight_factor: then
    multiplies them (routed_scaling_factor).
    """

    num_experts: int
    experts_per_token: int
    expert_size: int
    shared_size: int = 0
    dense_layers: tuple[int, ...] = ()
    score: RouterScore = "softmax"
    score_bias: bool = False
    num_groups: int = 1
    groups_per_token: int = 1
    group_score: GroupScore = "best"
    normalised: bool = False
    weight_factor: float = 1.0

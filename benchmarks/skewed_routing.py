"""What makes tokens of random sparse models choose experts unevenly, and choose some of them again: all of it a choice.

Random weights route evenly and forget at once; real models do neither, and a cache lives on that. Three things are done
to the weights, in packages (random_package.py) and in GGUF files (random_sparse_gguf.py) alike:

- *Busy experts.* The rows of a router have lengths that are spread log-normally (ROUTER_SPREAD): the longer ones win
  more often, in a layer always the same ones.
- *Topics.* The first quarter (TOPIC_SHARE) of a token's embedding is that of its topic, which is its number modulo
  NUM_TOPICS, and the head's rows begin with the same codes. So the next token is mostly of the same topic, tokens of
  a topic choose alike, and a text stays with some experts for a while, then with others. Real models repeat experts
  more than chance, too (Mixtral of Experts, arXiv 2401.04088, says so of its upper layers); how much is our choice.
- *Tokens matter.* Embeddings are large (EMBEDDING_FACTOR) and what layers add is small (ADDED_FACTOR): otherwise what
  all tokens of a text have in common would choose the experts of all.

Texts must be sampled (temperature 1): greedy ones of such a model run in circles, and so would the trace.
What comes of it is measured with `pocketseek bench --trace`, `--replay` (docs/moe.md); figures are in
docs/lab-notes.md. It was not fitted to a real model: take the traces of one before you draw conclusions about it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

ROUTER_STD, ROUTER_SPREAD = 2.0, 0.4  # of a router's outputs, and of the logarithm of its rows' lengths
NUM_TOPICS, TOPIC_SHARE = 64, 0.25
EMBEDDING_FACTOR, ADDED_FACTOR = 20.0, 0.1


def router_rows(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    lengths = np.exp(ROUTER_SPREAD * rng.standard_normal((shape[0], 1))) * ROUTER_STD / math.sqrt(shape[1])
    return (rng.standard_normal(shape) * lengths).astype(np.float32)


def num_topic_blocks(num_blocks: int) -> int:
    """How many blocks at the beginning of an embedding are its topic's."""
    return max(1, round(num_blocks * TOPIC_SHARE))


def size_factor(part: str) -> float:
    """Of the usual size of the values. part: "embed", or the last part of a tensor's name as packages have it."""
    if part == "embed":
        return EMBEDDING_FACTOR
    return ADDED_FACTOR if part in ("o", "down", "shared_down") else 1.0

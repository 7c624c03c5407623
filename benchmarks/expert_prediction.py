"""Could experts be asked for before they are chosen? How many of them several guesses find, and of what memory lacks.

    python benchmarks/expert_prediction.py PACKAGE [--tokens 64] [--prompt 16] [--slots 0.3] [--ask]

One sequence is written greedily with a part of the experts in memory. Before each layer's attention its experts are
guessed, as many as a token uses, in three ways:

    router    the layer's own router on the rows as they are before its attention
    before    the experts that the token before used there
    usual     those that were used most there so far

Told is which share of the chosen experts each guess holds, and of those that were not in memory; and how many reads it
would have begun for nothing for each that it begins rightly. With --ask, every other token asks for what `router` says
before the layer's attention, and times, waiting and bytes of both kinds of tokens are told. Ends in a JSON line. What
random weights say of it is not what a real model's would: their rows hardly change from layer to layer.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.contract import RowSpan
from pocketseek.kernels.kv_memory import KvMemory
from pocketseek.package.reader import Package
from pocketseek.runtime.residency.expert_weights import ExpertWeights
from pocketseek.runtime.work import pages_for

WAYS = ("router", "before", "usual")


class Guesser:
    """Watches one sequence go through the layers."""

    def __init__(self, package: Package, weights: ExpertWeights) -> None:
        config = package.manifest.model
        assert config.moe is not None
        self.places = config.moe.experts_per_token
        self._eps = config.rms_norm_eps
        self._weights = weights
        self._routers: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self._before: dict[int, set[int]] = {}
        self._uses: dict[int, Counter[int]] = {}
        for layer in range(config.num_layers):
            if config.has_experts(layer):
                stored = package.tensor(f"layer.{layer}.router")
                tiles = np.concatenate([part.data for part in stored.parts]).view(np.float32)
                tiles = tiles.reshape(-1, -(-stored.shape[1] // 32) * 32, 16)[:, : stored.shape[1]]
                norm = package.tensor(f"layer.{layer}.mlp_norm").parts[0].data.view(np.float32)
                self._routers[layer] = (tiles.transpose(1, 0, 2).reshape(stored.shape[1], -1), norm)
                self._uses[layer] = Counter()
        self.num_chosen = self.num_lacking = 0
        self.found: Counter[str] = Counter()
        self.found_lacking: Counter[str] = Counter()
        self.in_vain: Counter[str] = Counter()

    def by_router(self, layer: int, row: NDArray[np.float32]) -> list[int]:
        matrix, norm = self._routers[layer]
        scores = (row / np.sqrt(np.mean(row * row) + self._eps) * norm) @ matrix
        chosen: list[int] = np.argpartition(-scores, self.places)[: self.places].tolist()
        return chosen

    def ask(self, layer: int, row: NDArray[np.float32]) -> None:
        """Have what the router says read now."""
        store = self._weights.store
        keys = [(layer, expert) for expert in self.by_router(layer, row)]
        store._pinned.update(keys)
        lacking = [key for key in keys if key not in store._held and key not in store._fetches]
        rooms = [(store._room(), key) for key in lacking]
        store._pinned.clear()
        store._reader.fetch([store._fetch_to(slot, key) for slot, key in rooms if slot is not None])

    def layer(self, layer: int, row: NDArray[np.float32], chosen: set[int]) -> None:
        """row: as it was before the attention of this layer."""
        held = {expert for one, expert in self._weights.store.held if one == layer}
        guesses = {
            "router": set(self.by_router(layer, row)),
            "before": self._before.get(layer, set()),
            "usual": {expert for expert, _ in self._uses[layer].most_common(self.places)},
        }
        self.num_chosen += len(chosen)
        self.num_lacking += len(chosen - held)
        for way, guess in guesses.items():
            self.found[way] += len(guess & chosen)
            self.found_lacking[way] += len(guess & (chosen - held))
            self.in_vain[way] += len(guess - chosen - held)
        self._before[layer] = chosen
        self._uses[layer].update(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("package", type=Path)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=16, help="random tokens")
    parser.add_argument("--slots", type=float, default=0.3, help="share of the experts that fits in memory")
    parser.add_argument("--ask", action="store_true", help="every other token asks for what the router says")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with Package.open(arguments.package) as package:
        config = package.manifest.model
        kernels = choose_kernels().open(config, arguments.threads)
        weights = ExpertWeights(package, kernels)
        least = weights.streaming_bytes
        weights.set_bytes(least + round(arguments.slots * (weights.num_bytes - least)))
        guesser = Guesser(package, weights)
        memory = KvMemory(config, pages_for(arguments.prompt + arguments.tokens))
        run = weights._run_in_steps
        ids = np.random.default_rng(1).integers(0, config.vocab_size, arguments.prompt).astype(np.int32)

        def watched(index: int, layer: object, rows: object, hidden: NDArray[np.float32]) -> None:
            row = hidden[0].copy()
            if asks[-1] and len(hidden) == 1:
                guesser.ask(index, row)
                return run(index, layer, rows, hidden)
            chosen: list[NDArray[np.int32]] = []
            weights.on_routing = lambda _, experts: chosen.append(experts)
            begin = weights.store.begin

            def before_reads(number: int, experts: list[int]) -> dict[int, object]:
                if len(chosen[-1]) == 1:
                    guesser.layer(index, row, set(experts))
                return begin(number, experts)

            weights.store.begin = before_reads  # type: ignore[method-assign, assignment]  # looked at from outside
            try:
                run(index, layer, rows, hidden)
            finally:
                weights.store.begin = begin  # type: ignore[method-assign]  # as it was

        weights._run_in_steps = watched  # type: ignore[method-assign]  # as above
        position = 0
        asks: list[bool] = []
        spent: dict[bool, list[tuple[float, float, int]]] = {False: [], True: []}
        for number in range(arguments.tokens):
            asks.append(arguments.ask and number % 2 == 1)
            start = perf_counter(), weights.storage_wait_s, weights.read_bytes
            pages = tuple(range(pages_for(position + len(ids))))
            rows = kernels.begin([RowSpan(position, len(ids), pages)], weights.inv_freq, memory)
            hidden = np.empty((len(ids), config.hidden_size), np.float32)
            logits = np.empty((1, config.vocab_size), np.float32)
            with weights.one_pass(ids, needs_head=True):
                weights.embed(ids, hidden)
                weights.run_layers(rows, hidden)
                weights.run_head(hidden, np.array([len(ids) - 1], np.int32), logits)
            if number > 8:
                waited_s, num_bytes = weights.storage_wait_s - start[1], weights.read_bytes - start[2]
                spent[asks[-1]].append((perf_counter() - start[0], waited_s, num_bytes))
            position += len(ids)
            ids = np.array([logits.argmax()], np.int32)
        weights.close()
    result: dict[str, object] = {"chosen": guesser.num_chosen, "lacking": guesser.num_lacking}
    for way in WAYS:
        found, lacking, vain = guesser.found[way], guesser.found_lacking[way], guesser.in_vain[way]
        print(
            f"{way:8} {found / guesser.num_chosen:6.1%} of the chosen, {lacking / max(1, guesser.num_lacking):6.1%} of "
            f"those not in memory; {vain / max(1, lacking):.2f} reads in vain for each that is right"
        )
        result[way] = {"found": found, "found_lacking": lacking, "in_vain": vain}
    for asked, tokens in spent.items():
        if tokens and arguments.ask:
            seconds, waited_s, num_bytes = np.median(np.array(tokens), axis=0).tolist()
            words = (
                f"{seconds * 1e3:.0f} ms a token, {waited_s * 1e3:.0f} of them waiting, {num_bytes / 1e6:.0f} MB read"
            )
            print(f"{'asking' if asked else 'not asking'}: {words}; medians of {len(tokens)} tokens")
            result["asking" if asked else "not asking"] = [seconds, waited_s, num_bytes]
    print(json.dumps(result))


if __name__ == "__main__":
    main()

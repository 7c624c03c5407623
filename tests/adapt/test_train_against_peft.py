"""The same training as PEFT's on transformers' models: every step's loss, and the adapter in the end."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapt.training_models import FAMILIES, random_sequences, tiny_checkpoint

from pocketseek.adapt.data_tokens import TokenSequence
from pocketseek.adapt.train import opened_run
from pocketseek.adapt.train_batches import indices_of_step
from pocketseek.adapt.train_settings import TARGETS, TrainSettings
from pocketseek.adapt.train_tensors import initial_tensors
from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.package.reader import Package

MOST_LOSS_DIFFERENCE = 5e-6  # nats; measured: 6e-7
MOST_WEIGHT_DIFFERENCE = 2e-4  # of weights that moved by 0.02; measured: 2e-5

SETTINGS = TrainSettings(
    rank=4, alpha=6.0, steps=8, learning_rate=5e-3, warm_up=0.25, batch=5, context=64, weight_decay=0.01, seed=3
)


def peft_training(
    checkpoint: Path, sequences: list[TokenSequence], start: dict[str, np.ndarray], settings: TrainSettings
) -> tuple[list[float], dict[str, np.ndarray]]:
    """(losses, tensors) by a plain loop over PEFT's model, transformers' loss and schedule, torch's AdamW."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
        from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

        base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.scaled_alpha,
            target_modules=list(settings.targets),
            task_type="CAUSAL_LM",
        )
        model: Any = get_peft_model(base, config)
        set_peft_model_state_dict(model, {name: torch.from_numpy(values) for name, values in start.items()})
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        num_steps = settings.num_steps(len(sequences))
        schedule = get_cosine_schedule_with_warmup(optimiser, int(settings.warm_up * num_steps), num_steps)
        losses = []
        for step in range(num_steps):
            chosen = [
                sequences[index] for index in indices_of_step(len(sequences), settings.batch, settings.seed, step)
            ]
            length = max(len(one.ids) for one in chosen)
            ids, labels = torch.zeros(len(chosen), length, dtype=torch.long), torch.full((len(chosen), length), -100)
            mask = torch.zeros(len(chosen), length, dtype=torch.long)
            for row, one in enumerate(chosen):
                ids[row, : len(one.ids)] = torch.from_numpy(one.ids.astype(np.int64))
                labels[row, : len(one.ids)] = torch.from_numpy(np.where(one.wanted, one.ids, -100).astype(np.int64))
                mask[row, : len(one.ids)] = 1
            num_tokens = sum(one.num_wanted for one in chosen)
            loss = model(input_ids=ids, attention_mask=mask, labels=labels, num_items_in_batch=num_tokens).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses.append(loss.item())
        return losses, {name: tensor.numpy() for name, tensor in get_peft_model_state_dict(model).items()}


@pytest.mark.parametrize(("family", "tied"), [*((family, False) for family in FAMILIES), ("llama", True)])
def test_losses_and_weights_are_those_of_peft(tmp_path: Path, family: str, tied: bool) -> None:
    checkpoint = tiny_checkpoint(tmp_path, family, tied=tied)
    package_path = convert_checkpoint(checkpoint, tmp_path / "package", quant="keep")
    sequences = random_sequences()
    with Package.open(package_path) as package:
        assert {tensor.format for tensor in package.manifest.tensors} <= {"f32"}
        start = initial_tensors(package.manifest.model, SETTINGS.rank, tuple(TARGETS), seed=1)
        with opened_run(package, sequences, SETTINGS, start=start, most_tokens=64) as opened:
            while not opened.run.is_done:
                opened.run.step()
            losses, tensors = opened.run.losses, opened.run.tensors()
    peft_losses, peft_tensors = peft_training(checkpoint, sequences, start, SETTINGS)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, peft_losses, atol=MOST_LOSS_DIFFERENCE, rtol=0)
    assert tensors.keys() == peft_tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_allclose(values, peft_tensors[name], atol=MOST_WEIGHT_DIFFERENCE, rtol=0, err_msg=name)
    moved = max(float(np.abs(tensors[name] - start[name]).max()) for name in tensors)
    assert moved > 50 * MOST_WEIGHT_DIFFERENCE

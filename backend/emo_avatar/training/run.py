"""The loop under every trainer: it learns, it can be killed and goes on, and it shows how it is doing.

A trainer says what its network is, how a batch is drawn and what counts as a loss (`Task`); everything else is here:
mixed precision, seeds, a moving average of the weights, checkpoints, loss curves, several GPUs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from emo_avatar.errors import UserError
from emo_avatar.files import whole_file
from emo_avatar.training.loss_log import LossLog
from emo_avatar.training.processes import processes

Progress = Callable[[float, str], None]
RESUMABLE = {"minutes", "checkpoint_minutes", "workers"}  # settings that may change when training goes on


class Task(Protocol):
    """What is trained."""

    @property
    def model(self) -> nn.Module:
        """The network; `run` moves it to the device that it trains on."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names all that training depends on beside the settings of the run: data, losses, sizes."""
        ...

    @property
    def draw(self) -> Callable[[int, int], Any]:
        """``draw(step, rank) -> batch``, the same for the same numbers; to be pickled where there are workers."""
        ...

    def loss(self, batch: Any) -> Mapping[str, Tensor]:
        """The terms of a batch's loss, already weighted; their sum is minimised."""
        ...


@dataclass(frozen=True)
class RunSettings:
    """How it is trained."""

    steps: int
    minutes: float | None = None  # of this run, after which it stops with a checkpoint to resume from
    learning_rate: float = 1e-3
    warm_up: float = 0.05  # of the steps; then down to nothing along a cosine
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.0  # decay of the moving average of the weights, per step; 0: none
    seed: int = 0
    checkpoint_minutes: float = 2.0
    workers: int = 0  # processes that draw batches; 0: the training process itself


@dataclass(frozen=True)
class Run:
    """What came of it."""

    model: nn.Module  # on the CPU: the moving average where there is one
    steps: int  # done so far, over all runs that belong together
    minutes: float  # over all of them
    complete: bool  # else it stopped on time and can be resumed


def run(
    task: Task,
    output: Path,
    settings: RunSettings,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    progress: Progress = lambda fraction, doing: None,
) -> Run:
    """Train; ``NAME.checkpoint``, ``NAME_loss.csv`` and ``NAME_loss.png`` lie beside ``output``.

    The checkpoint is removed by whoever has written the weights (`forget_checkpoint`), so that nothing is lost between.
    Under torchrun each process draws batches of its own and gradients are averaged; the first process writes.

    Raises:
        UserError: there is no checkpoint to resume from, it is of other settings or data, or the loss is no number.
    """
    team = processes(device)
    torch.manual_seed(settings.seed)
    task.model.to(team.device).train()
    team.share(task.model)
    averaged = AveragedModel(task.model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema)) if settings.ema else None
    optimiser = torch.optim.AdamW(
        task.model.parameters(),
        settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, settings.steps, pct_start=settings.warm_up, cycle_momentum=False
    )
    parts = {"model": task.model, "optimiser": optimiser, "schedule": schedule}
    if averaged:
        parts["averaged"] = averaged
    checkpoint = Checkpoint(output.with_suffix(".checkpoint"), run_fingerprint(task, settings), parts)
    step, trained = checkpoint.restore(team.device) if resume else (0, 0.0)
    log = LossLog(output, step)
    precision = _precision(team.device)

    began = stored = time.perf_counter()
    stop = False
    for batch in _batches(task, settings, step, team.rank):
        torch.manual_seed(hash((settings.seed, step, team.rank)))  # a resumed run draws what the whole one would have
        with precision():
            terms = task.loss(batch)
        total = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        total.backward()
        elapsed = time.perf_counter() - began
        stop = team.average(task.model, settings.minutes is not None and elapsed > 60 * settings.minutes)
        norm = nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
        if not math.isfinite(norm):
            raise UserError(
                f"The loss is no number any more at step {step}: go on from the last checkpoint with --resume, or "
                "train anew with a smaller learning rate."
            )
        optimiser.step()
        schedule.step()
        if averaged:
            averaged.update_parameters(task.model)
        step += 1
        if not team.first:
            if stop:
                break
            continue
        log.add(step, dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True)))
        last = stop or step == settings.steps
        if last or time.perf_counter() - stored > 60 * settings.checkpoint_minutes:
            log.write(last)
            checkpoint.store(step, trained + time.perf_counter() - began)
            stored = time.perf_counter()
        rate = (step - log.first) / max(time.perf_counter() - began, 1e-6)
        progress(step / settings.steps, f"step {step}, loss {log.recent():.4f}, {rate:.1f} steps/s")
        if last:
            break
    minutes = (trained + time.perf_counter() - began) / 60
    model = averaged.module if averaged else task.model
    return Run(model.to("cpu").eval(), step, minutes, step >= settings.steps)


def run_fingerprint(task: Task, settings: RunSettings) -> str:
    """Names all that the weights depend on."""
    kept = {name: value for name, value in asdict(settings).items() if name not in RESUMABLE}
    parts = task.fingerprint, json.dumps(kept, sort_keys=True)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def forget_checkpoint(output: Path) -> None:
    """To be called when the weights of a complete run are on disk."""
    output.with_suffix(".checkpoint").unlink(missing_ok=True)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run as one file, whole or not there."""

    path: Path
    fingerprint: str
    parts: Mapping[str, Any]  # name -> what has a state_dict

    def store(self, step: int, seconds: float) -> None:
        """Raises UserError where it cannot be written; the last one stays then."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        try:
            with whole_file(self.path) as temporary:
                torch.save(state | {"fingerprint": self.fingerprint, "step": step, "seconds": seconds}, temporary)
        except (OSError, RuntimeError) as error:  # PyTorch's writer tells of a full disk by the latter
            raise UserError(
                f"The checkpoint {self.path} cannot be written ({_reason(error)}): make room, and go on from the last "
                "one with --resume."
            ) from error

    def restore(self, device: torch.device) -> tuple[int, float]:
        """Steps and seconds that are done. Raises UserError."""
        if not self.path.exists():
            raise UserError(f"There is no checkpoint {self.path} to resume from; train without --resume.")
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(
                f"The checkpoint {self.path} cannot be read ({_reason(error)}); train without --resume."
            ) from error
        if not isinstance(state, dict) or state.get("fingerprint") != self.fingerprint:
            raise UserError(
                f"The checkpoint {self.path} is of other settings, recipes or another head; train without --resume."
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return state["step"], state["seconds"]


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


@dataclass(frozen=True)
class _Steps(Dataset):
    """The batches of the steps that are left, for a `DataLoader`."""

    draw: Callable[[int, int], Any]
    first: int
    last: int
    rank: int

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, i: int) -> Any:
        if i >= len(self):
            raise IndexError(i)
        return self.draw(self.first + i, self.rank)


def _batches(task: Task, settings: RunSettings, first: int, rank: int) -> Iterator[Any]:
    steps = _Steps(task.draw, first, settings.steps, rank)
    # Workers are spawned rather than forked: threads of PyTorch and Numba do not survive a fork.
    context = "spawn" if settings.workers else None
    yield from DataLoader(
        steps, None, num_workers=settings.workers, multiprocessing_context=context, collate_fn=_as_drawn
    )


def _as_drawn(batch: Any) -> Any:
    return batch


def _precision(device: torch.device) -> Callable[[], contextlib.AbstractContextManager]:
    """Half of the bits where that is faster and safe without scaling: bfloat16 on GPUs that have it."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return lambda: torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext

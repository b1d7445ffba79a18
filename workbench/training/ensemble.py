"""`Ensemble`: N networks of one architecture trained at once, each as `fit` would have trained it by itself."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench import models as networks_by_name
from workbench.data import Dataset, Split, as_dataset
from workbench.models import Outputs
from workbench.records import Checkpoint, Provenance, TrainingRecord
from workbench.training import augment as augmentations
from workbench.training import distributed, doors, evaluating, losses, optimizers, plan, randomness, resuming
from workbench.training.checkpoints import reopened
from workbench.training.evaluating import Scores
from workbench.training.fit import assemble, kept_in, plain, splits
from workbench.training.grouping import Grouped, Threads, group_count, keep_memory, recording
from workbench.training.guide import GuideFunction
from workbench.training.history import History
from workbench.training.loop import Failure, Keep, TrainingError, Watch, progress_bar, run
from workbench.training.stacked_batches import StackedBatches, StackedSplits, join, one_at_a_time, stacked_guide
from workbench.training.stacked_learner import GradientRule, Stacked
from workbench.training.stacked_optimizer import StackedOptimizer
from workbench.training.stacked_step import StackedStep, outputs, settle
from workbench.training.stacking import Stack

CHECKPOINT = "Ensemble.fit"


class Ensemble:
    """N networks of one architecture as one: their weights are stacked, and one ``vmap`` runs them all.

    Many small networks leave a machine idle between operations; stacked, ten seeds cost little more than one. Weights,
    seeds, learning rates, data and teachers may differ per member.

    Parameters
    ----------
    models
        The networks, or a name for `workbench.models.build`.
    data, seeds, options
        With a name only: what `build` sizes the networks for, the seed of each one's weights, and its other arguments.

    Raises
    ------
    ValueError
        The networks differ in more than their weights.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> ensemble = Ensemble("mlp", data, seeds=range(4), width=16)
    >>> records = ensemble.fit(data, epochs=3, lr=[0.01, 0.01, 0.003, 0.001], progress=False)
    >>> [record.epochs for record in records]
    [3, 3, 3, 3]
    >>> ensemble.evaluate(data.test)["accuracy"].shape
    torch.Size([4])
    """

    def __init__(
        self,
        models: Sequence[nn.Module] | str,
        data: Dataset | Split | tuple[Sequence[int], int] | None = None,
        *,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        if isinstance(models, str):
            if data is None or seeds is None:
                raise ValueError(f"models is the name {models!r}: pass data and seeds too, so that they can be built")
            models = [networks_by_name.build(models, data, seed=seed, **options) for seed in seeds]
        elif data is not None or seeds is not None or options:
            raise ValueError("data, seeds and other options build networks from a name; models already holds networks")
        self._models = list(models)
        self._stacks = [Stack(self._models)]
        self._wanted: dict[str, Any] = {}
        self._steps: list[StackedStep] = []
        self._optimizers: list[StackedOptimizer] = []
        spec = getattr(models[0], "spec", None)
        self._axes: int | None = None if spec is None else len(spec["shape"])

    def __len__(self) -> int:
        return len(self._models)

    @doors.hinted
    def fit(
        self,
        data: Any,
        epochs: int = 20,
        *,
        steps: int | None = None,
        optimizer: str | optimizers.OptimizerFactory = "adam",
        lr: float | Sequence[float] = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        schedule: str | Callable[[float], float] = "cosine",
        warmup: float = 0,
        batch_size: int = 64,
        augment: str | augmentations.Augment | None = None,
        loss: losses.Loss | Sequence[nn.Module] | None = None,
        layers: str | Sequence[str] = (),
        guide: GuideFunction | Sequence[GuideFunction] | None = None,
        rule: GradientRule | None = None,
        amp: bool = False,
        device: str | torch.device = "auto",
        seeds: Sequence[int] | None = None,
        snapshots: int | str | Sequence[int] = 0,
        evaluate_every: int | None = None,
        resume: Sequence[TrainingRecord] | str | os.PathLike | None = None,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int | None = None,
        progress: bool = True,
        name: str | Sequence[str] = "",
        watch: Watch | None = None,
    ) -> list[TrainingRecord]:
        """Train all members, each as ``fit(model, data, seed=…)`` would have; in place, as `fit` does.

        The loss runs under ``vmap``: it must be made of tensor operations without data-dependent branches. Layers that
        draw at random (dropout) draw for each member, but not the same numbers as one by one.

        Equal up to rounding is what the loss depends on. A weight that it does not depend on (a key's bias under
        softmax, a bias before batch norm) has rounding for a gradient, which Adam scales up to whole steps: it drifts
        to other values here than one by one, by up to the learning rate a step. The logits agree all the same; only
        batch norm's running mean, in evaluation mode, can lag behind such a bias. Under SGD the weights agree too.

        Parameters
        ----------
        data
            One for all, as for `workbench.training.fit`; or a list of `Dataset` or `Split`, one per member, with
            training splits of equal size.
        lr
            One for all, or one per member.
        loss
            As for `fit`; or one module per member, of equal structure. One module with parameters is copied per member.
        guide
            One teacher for all, or one per member; see `Guide`.
        rule
            Changes the gradients before each step, as sharpness-aware training does; see `GradientRule`.
        seeds
            Seed of each member's data order and augmentation; default 0, 1, 2, ….
        resume
            One record per member, or the path of the file that `checkpoint` named.
        name
            What the runs are called: one each, or a common beginning that the member's number is added to.

        The other parameters are those of `workbench.training.fit`.

        Returns
        -------
        list of TrainingRecord
            One per member.

        Raises
        ------
        ValueError
            An argument is out of range, or does not fit the number of members.
        TrainingError
            The loss of a member became NaN or infinite; ``error.records`` holds the last sound state of all.
        """
        started = time.perf_counter()
        place = distributed.pick(device)
        rates = [doors.number("lr", rate, above=0) for rate in _one_each("lr", lr, len(self), None)]
        seeds = _one_each("seeds", range(len(self)) if seeds is None else seeds, len(self), int)
        titles = _titles(name, len(self))
        sources = _sources(data, len(self))
        each = [splits(one) for one in sources]
        course = plan.make(
            len(each[0][0]),
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            schedule=schedule,
            warmup=warmup,
            snapshots=snapshots,
            evaluate_every=evaluate_every,
        )
        shared_settings = {
            "epochs": None if steps is not None else int(epochs),
            "steps": course.steps,
            "steps_per_point": course.point,
            "optimizer": plain(optimizer),
            "weight_decay": float(weight_decay),
            "momentum": float(momentum),
            "schedule": plain(schedule),
            "warmup": float(warmup),
            "batch_size": course.batch_size,
            "augment": plain(augment),
            "loss": plain(loss),
            "layers": [layers] if isinstance(layers, str) else list(layers),
            "guide": plain(guide),
            "rule": plain(rule),
            "amp": amp,
            "examples": course.examples,
        }
        known = {id(one): resuming.identity(*one) for one in each}
        settings = [
            shared_settings | {"lr": rate, "seed": seed, "data": getattr(source, "name", ""), **known[id(one)]}
            for rate, seed, one, source in zip(rates, seeds, each, sources, strict=True)
        ]
        saved = kept_in(checkpoint, checkpoint_every, course, resuming=resume is not None)
        start = _members(resume, len(self))
        keep_memory()
        self._place(place)
        train, tests = _placed(each, place, self._dtype)
        self._axes = train[0].inputs.ndim - 1
        apart = 1 if hasattr(loss, "logged") else group_count(self._models, train[0].inputs[0], batch_size, place)
        self.prepare(
            loss=loss if isinstance(loss, Sequence) else losses.resolve(loss, train[0].task),
            layers=layers,
            optimizer=optimizer,
            lr=rates,
            weight_decay=weight_decay,
            momentum=momentum,
        )
        self._regroup(apart)
        chosen = augmentations.resolve(augment)
        guides = _one_each("guide", guide, len(self), None)
        plainly = not amp and rule is None and isinstance(optimizer, str)
        recorder = recording(self._models, loss, train[0].inputs[0], place) if plainly else None
        with randomness.fenced(place), Threads(apart) as threads:
            parts = []
            for stack, step, stepper, members in zip(
                self._stacks, self._steps, self._optimizers, self._slices(), strict=True
            ):
                settle(stack, torch.stack([split.inputs[:3] for split in train[members]]))
                batches = StackedBatches(StackedSplits(train[members]), course, chosen, seeds[members])
                told = stacked_guide(guides[members], batches.splits, augmented=chosen is not None)
                parts.append(
                    Stacked(
                        step,
                        batches,
                        None if tests is None else tests[members],
                        guide=told if told is None or apart == 1 else one_at_a_time(told),
                        rule=rule,
                        optimizer=stepper,
                        amp=amp,
                        device=place,
                        recorder=recorder,
                    )
                )
            learner = Grouped(parts, threads)
            history = History(len(self)) if start is None else _continued(learner, start, settings)

            def records(history: History, scores: Scores | None, *, interrupted: bool) -> list[TrainingRecord]:
                for stack in self._stacks:
                    stack.write_back()
                states = learner.states()
                kept = learner.checkpoints()
                return [
                    assemble(
                        history,
                        member,
                        scores,
                        state=states[member],
                        checkpoint=resuming.state(history, kept[member], member),
                        model=self._models[member],
                        name=titles[member],
                        classes=train[0].classes,
                        settings=settings[member],
                        interrupted=interrupted,
                        provenance=Provenance.capture(seed=seeds[member], device=place, started=started),
                    )
                    for member in range(len(self))
                ]

            def save(history: History, members: list[TrainingRecord]) -> None:
                saved.save(
                    Checkpoint(what=CHECKPOINT, done=history.step, total=course.steps, state={"members": members})
                )

            keep = Keep(saved.due, lambda at: save(at, records(at, None, interrupted=True)))
            label = name if isinstance(name, str) and name else f"{len(self)} networks"
            try:
                with progress_bar(course, history.step, label, show=progress) as bar:
                    history, scores, interrupted = run(learner, course, history, bar, watch, keep)
            except Failure as failure:
                raise TrainingError(
                    failure.message(course, f" of member {failure.member}"),
                    records(failure.history, learner.score(), interrupted=True),
                ) from None
            if interrupted:
                print(resuming.stopped(history, course))
            made = records(history, scores, interrupted=interrupted)
            save(history, made)
            return made

    def prepare(
        self,
        *,
        loss: losses.Loss | Sequence[nn.Module] | None = None,
        layers: str | Sequence[str] = (),
        optimizer: str | optimizers.OptimizerFactory = "adam",
        lr: float | Sequence[float] = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
    ) -> None:
        """Set loss and optimizer for `step`, forgetting the optimizer's state; arguments as for `fit`."""
        self._wanted = {
            "loss": losses.cross_entropy if loss is None else loss,
            "layers": layers,
            "optimizer": optimizer,
            "lr": _one_each("lr", lr, len(self), float),
            "weight_decay": weight_decay,
            "momentum": momentum,
        }
        if isinstance(loss, Sequence) and len(loss) != len(self):
            raise ValueError(f"loss has {len(loss)} entries for {len(self)} networks: give one for all, or one each")
        self._steps, self._optimizers = [], []

    def _regroup(self, count: int) -> None:
        """Part the members into `count` groups and make what `prepare` asked for in each."""
        if count != len(self._stacks):
            device = self.device
            for stack in self._stacks:
                stack.write_back()
            self._stacks = [Stack(self._models[members]) for members in _even(len(self), count)]
            self._place(device)
        wanted = self._wanted
        self._steps, self._optimizers = [], []
        for stack, members in zip(self._stacks, self._slices(), strict=True):
            loss = wanted["loss"]
            step = StackedStep(stack, loss[members] if isinstance(loss, Sequence) else loss, wanted["layers"])
            if step.loss_stack is not None:
                step.loss_stack.to(self.device)
            self._steps.append(step)
            self._optimizers.append(
                StackedOptimizer(
                    wanted["optimizer"],
                    step.parameters,
                    lr=wanted["lr"][members],
                    weight_decay=wanted["weight_decay"],
                    momentum=wanted["momentum"],
                )
            )

    def _slices(self) -> list[slice]:
        return _even(len(self), len(self._stacks))

    def _place(self, device: torch.device) -> None:
        for stack in self._stacks:
            stack.to(device)

    def step(self, inputs: Tensor, labels: Tensor, guide: Outputs | None = None, *, factor: float = 1.0) -> Tensor:
        """One optimizer step of every member, for loops of one's own; `prepare` sets loss and optimizer.

        Parameters
        ----------
        inputs, labels
            Each member's batch, shapes (N, B, ...) and (N, B).
        guide
            What the loss sees as the teacher: outputs with a leading axis N.
        factor
            Multiplies the learning rates.

        Returns
        -------
        Tensor
            Loss of each member before the step, shape (N,).
        """
        if len(inputs) != len(self) or len(labels) != len(self):
            raise ValueError(f"inputs and labels have {len(inputs)} and {len(labels)} members, not {len(self)}")
        if not self._wanted:
            self.prepare()
        if not self._steps:
            self._regroup(1)
            settle(self._stacks[0], inputs[:, :3])
        self._axes = inputs.ndim - 2
        loss, _, _ = self._steps[0](inputs, labels, guide)
        self._optimizers[0].zero_grad()
        loss.sum().backward()
        self._optimizers[0].step(factor)
        return loss.detach()

    def outputs(
        self,
        inputs: Tensor,
        layers: str | Sequence[str] = (),
        *,
        per_member: bool | None = None,
        training: bool = False,
    ) -> Outputs:
        """What all members say, without gradients: logits (N, B, outputs) and features (N, B, ...).

        Parameters
        ----------
        inputs
            One batch for all, (B, ...), or one each, (N, B, ...).
        per_member
            Which of the two; by default told by the number of axes that the networks are known to take.
        training
            Run in training mode (batch norm, dropout) instead of eval mode.
        """
        if per_member is None:
            if self._axes is None:
                raise ValueError(
                    "per_member must be given: networks that build did not make can take any number of axes"
                )
            per_member = inputs.ndim == self._axes + 2
        parts = [
            outputs(stack, inputs[members] if per_member else inputs, layers, per_member=per_member, training=training)
            for stack, members in zip(self._stacks, self._slices(), strict=True)
        ]
        return parts[0] if len(parts) == 1 else join(parts, torch.cat)

    def evaluate(self, split: Split) -> dict[str, Tensor]:
        """What `workbench.training.evaluate` gives, each value a tensor of shape (N,), float64."""
        if len(split) == 0:
            raise ValueError("split is empty: there is nothing to evaluate on")
        moved = split.to(self.device, self._dtype)
        logits = self.outputs(moved.inputs, per_member=False).logits
        labels = moved.labels.expand(len(self), -1)
        found = evaluating.metrics(evaluating.score(logits, labels, len(split.classes)))
        return {key: torch.tensor([one[key] for one in found], dtype=torch.float64) for key in found[0]}

    def member(self, index: int) -> nn.Module:
        """The network given at `index`, with its weights as they are now, in eval mode."""
        index = range(len(self))[index]
        for stack, members in zip(self._stacks, self._slices(), strict=True):
            if members.start <= index < members.stop:
                self._models[index].load_state_dict(stack.state_of(index - members.start))
        return self._models[index].eval()

    @property
    def device(self) -> torch.device:
        """Where the stacked weights are."""
        return self._stacks[0].tensors[0].device

    @property
    def _dtype(self) -> torch.dtype | None:
        return next((value.dtype for value in self._stacks[0].tensors if value.is_floating_point()), None)


def _even(members: int, groups: int) -> list[slice]:
    """`members` in `groups` runs of nearly equal length."""
    return [slice(g * members // groups, (g + 1) * members // groups) for g in range(groups)]


def _one_each(name: str, value: Any, members: int, kind: Any) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence | Tensor):
        return [value if kind is None else kind(value)] * members
    if len(value) != members:
        raise ValueError(f"{name} has {len(value)} entries for {members} networks: give one for all, or one each")
    return [one if kind is None else kind(one) for one in value]


def _sources(data: Any, members: int) -> list[Dataset | Split]:
    apart = isinstance(data, list | tuple) and all(isinstance(one, Dataset | Split) for one in data)
    return _one_each("data", data if apart else as_dataset(data), members, None)


def _titles(name: str | Sequence[str], members: int) -> list[str]:
    if isinstance(name, str):
        return [f"{name} {member}" if name else "" for member in range(members)]
    return _one_each("name", name, members, str)


def _placed(
    each: Sequence[tuple[Split, Split | None]], device: torch.device, dtype: torch.dtype | None
) -> tuple[list[Split], list[Split] | None]:
    """Splits on the device; what is one tensor stays one tensor, so that members can share it."""
    moved: dict[int, Tensor] = {}

    def place(split: Split) -> Split:
        there = split.to(device, dtype)
        for field in ("inputs", "labels"):
            object.__setattr__(there, field, moved.setdefault(id(getattr(split, field)), getattr(there, field)))
        return there

    train = [place(one) for one, _ in each]
    tests = [place(test) for _, test in each if test is not None]
    if tests and len({len(test) for test in tests}) > 1:
        raise ValueError("data has test splits of different sizes: they must be of equal size")
    return train, tests if len(tests) == len(each) else None


def _members(
    resume: Sequence[TrainingRecord] | str | os.PathLike | None, members: int
) -> Sequence[TrainingRecord] | None:
    """The members' records to continue from, or those in a checkpoint's file."""
    found: Any = resume
    if isinstance(resume, str | os.PathLike):
        kept = reopened(resume, Checkpoint)
        if kept.what != CHECKPOINT:
            raise ValueError(f"resume is a checkpoint of {kept.what}, not of {CHECKPOINT}")
        found = kept.state["members"]
    if found is not None and len(found) != members:
        raise ValueError(f"resume has {len(found)} records for {members} networks")
    return found


def _continued(learner: Grouped, resume: Sequence[TrainingRecord], settings: Sequence[dict[str, Any]]) -> History:
    """Set the learner to where the runs that `resume` records stopped."""
    parts = [
        resuming.resumable(record, wanted, learner.device) for record, wanted in zip(resume, settings, strict=True)
    ]
    if len({part.step for part in parts}) > 1:
        raise ValueError("resume has records that stopped at different steps: continue them one by one with fit")
    records = iter(resume)
    for part in learner.parts:
        part.continue_from([next(records) for _ in range(part.members)])
    learner.done = parts[0].step
    return History.joined(parts)

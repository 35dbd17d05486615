"""What a run leaves on the disk while it goes on, and what it finds there when it goes on after a break."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.config import (
    BESIDE_THE_SETTINGS,
    NEVER_CHANGES_THE_RESULT,
    SETTINGS,
    Config,
    deciding_sha256,
    name_of,
)  # fmt: skip
from distbp.data.dataset import Array
from distbp.epoch import Sums
from distbp.errors import Interrupted, RunError, TrainingError, UsageError
from distbp.files import check_regular, read_sealed
from distbp.network import Network
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.arithmetic import cpu_count
from distbp.parallel.records import StepRecord, TimeSpent
from distbp.runs.checkpoint_writer import CheckpointWriter
from distbp.runs.checkpoints import Checkpoint, check_described, newest_checkpoint
from distbp.runs.directory import CHECKPOINTS, CONFIG, RunDirectory, held
from distbp.runs.model import CONNECTIONS, read_connections, read_weights, write_connections
from distbp.runs.records import METRICS, SUMMARY, history_of
from distbp.runs.steplog import NAME as STEPS
from distbp.runs.steplog import StepLog
from distbp.runs.timeline import NAME as TIMELINE
from distbp.runs.timeline import Timeline
from distbp.tensor_files import write_tensors

Note = Callable[[str], None]

BEST = "best.safetensors"
"""In the run directory: the weights of the epoch with the lowest validation cost."""


@dataclass(frozen=True)
class Past:
    """A run as it was left: its settings and its newest good checkpoint."""

    path: Path
    settings: Mapping[str, Any]
    """What config.json holds."""
    checkpoint: Checkpoint

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return config_of(self.settings, self.path)

    def network(self, config: Config | None = None) -> Network:
        """Return the network as it was; parts of the user's own are found in ``config`` by their names."""
        own: dict[str, Any] = {}
        if config is not None:
            parts = (*config.hidden_activations, config.output, config.cost)
            own = {name_of(part): part for part in parts if part is not None and not isinstance(part, str)}
        described = self.checkpoint.described["structure"]
        left_out = self.checkpoint.described.get("has_connections")
        connections = read_connections(self.path, len(described["activations"]), left_out)
        try:
            structure = Structure(
                tuple(described["sizes"]),
                tuple(own.get(name, name) for name in described["activations"]),
                own.get(described["cost"], described["cost"]),
                connections,
            )
        except UsageError as error:
            raise RunError(f"{self.path} was trained with parts of its own: pass them in config ({error})") from error
        if self.checkpoint.state.shape[1] != structure.parameter_count:
            raise RunError(f"the checkpoints in {self.path} do not hold the {structure.parameter_count:,} parameters")
        return Network.of(structure, self.checkpoint.state[0])

    def epochs(self, steps_per_epoch: int) -> int:
        """Return the epochs that have come to their end; the last one's steps may be done without that."""
        done = self.checkpoint.step // steps_per_epoch
        ends_open = self.checkpoint.step % steps_per_epoch == 0 and self.checkpoint.described["epoch"]["rows"] > 0
        return done - ends_open

    def history(self, epochs: int, config: Config) -> list[Mapping[str, Any]]:
        """Return the records of the first ``epochs`` epochs; as many as found room on the disk, if none decides."""
        decides = config.early_stopping is not None or config.schedule == "plateau"
        return [*history_of(self.path, epochs, decides, bool(config.validation_fraction))]

    def best(self, epochs: int, config: Config) -> Array | None:
        """Return the weights of the best of so many epochs, None if none are kept."""
        if config.early_stopping is None or not epochs:
            return None
        return read_weights(self.path / BEST, self.checkpoint.state[0])

    def state_for(self, initial: Array) -> Array:
        """Return the state to go on from; where another optimizer was forced on the run, with its initial vectors."""
        if initial.shape == self.checkpoint.state.shape and initial.dtype == self.checkpoint.state.dtype:
            return self.checkpoint.state
        initial[0] = self.checkpoint.state[0]
        return initial

    def check(self, config: Config, found: Mapping[str, Any], force: bool) -> None:
        """Refuse to go on with something else than before.

        Raises:
            RunError: the data, a setting that changes the result, or the arithmetic is another one.
        """
        now, then = config.to_json(), self.settings
        differ = [name for name in now if now[name] != then.get(name, now[name])]
        names = [name for name in differ if name not in NEVER_CHANGES_THE_RESULT]
        changed = [f"{name} is {now[name]}, was {then[name]}" for name in names]
        if found["data_sha256"] != self.settings.get("data_sha256"):
            changed.insert(0, "the data are not the same")
        bound = self.checkpoint.described.get("settings_sha256")
        if bound is not None and bound != deciding_sha256(then):
            changed.insert(0, f"{CONFIG} is not what its checkpoint of step {self.checkpoint.step} was made with")
        before, here = self.settings.get("arithmetic", {}), found["arithmetic"]
        changed += [
            f"{name} is {here[name]}, was {before.get(name)}" for name in here if here[name] != before.get(name)
        ]
        another = [name for name in names if name in _THE_NETWORK]
        if changed and (another or not force):
            what = f"{self.path} cannot go on as it began: {'; '.join(changed)}"
            if another:
                raise RunError(f"{what}; that would be another network: start a new run")
            raise RunError(f"{what}; --force goes on all the same, with another result")


def config_of(settings: Mapping[str, Any], run: Path = Path()) -> Config:
    """Return the settings that the config.json of a run holds beside what it says of data and machine.

    Raises:
        RunError: they are none of this version's.
    """
    try:
        return Config.from_settings({name: each for name, each in settings.items() if name not in BESIDE_THE_SETTINGS})
    except UsageError as error:
        raise RunError(f"{run / CONFIG} cannot be used: {error}") from error


_THE_NETWORK = {"hidden", "activation", "output", "cost", "dtype"}


def is_finished(path: Path) -> bool:
    """Return whether the run in this directory came to its end."""
    return (path / SUMMARY).exists()


def is_begun(path: Path) -> bool:
    """Return whether this directory holds a run that has come as far as its first checkpoint."""
    return (path / CONFIG).exists() and any((path / CHECKPOINTS).glob("step-*.safetensors"))


def forget_unbegun(path: Path) -> None:
    """Make room for a run where one was killed before it had anything to go on from."""
    if not is_begun(path) and not is_finished(path) and path.is_dir():
        with held(path):
            (path / CONFIG).unlink(missing_ok=True)


def read_past(path: Path, note: Note) -> Past:
    """Read the run that was left in this directory.

    Raises:
        UsageError: there is none.
        RunError: it cannot be read, or it has no good checkpoint.
    """
    if not (path / CONFIG).exists():
        raise UsageError(f"{path} holds no run: expected a directory that distbp train made")
    for name in (CONFIG, METRICS, STEPS, TIMELINE, BEST, CONNECTIONS):
        check_regular(path / name)  # whatever is read or written later never waits
    settings, has_sum = read_sealed(path / CONFIG, SETTINGS)
    checkpoint = newest_checkpoint(path / CHECKPOINTS, note, check_described)
    if checkpoint is None:
        raise RunError(f"{path} holds no good checkpoint to go on from: start the run again in another directory")
    if not has_sum and "settings_sha256" not in checkpoint.described:
        note(f"{path / CONFIG} carries no sum, as it was written by an earlier version: a change would not be noticed")
    return Past(path, settings, checkpoint)


class Keeper:
    """Keeps a run in its directory: settings, the log of its steps, a record per epoch, checkpoints."""

    def __init__(
        self,
        path: Path,
        described: Mapping[str, Any],
        structure: Structure,
        config: Config,
        steps_per_epoch: int,
        initial: tuple[int, ...],
        note: Note,
        past: Past | None,
    ) -> None:
        """Begin a run's directory, or go on with that of ``past``.

        ``described`` goes to config.json; ``initial`` are the hashes of the layers' initial parameters.
        """
        self.path = path
        self._described = {
            "structure": structure.described(),
            "has_connections": bool(structure.connections),
            "settings_sha256": deciding_sha256(described),
        }
        self._slots = optimizer_of(config).slots
        self._seconds = config.checkpoint_seconds
        self._last = time.monotonic()
        if past is None:
            self._directory = RunDirectory(path, described, note)
            if structure.connections:
                write_connections(path, structure.connections)
            self._log = StepLog(path, initial, note)
        else:
            step = past.checkpoint.step
            self._directory = RunDirectory.again(path, described, past.epochs(steps_per_epoch), note)
            self._log = StepLog.again(path, step, note, len(initial))
        begun = 0 if past is None else past.checkpoint.step
        self.timeline = Timeline(path, structure.sizes, begun, cpu_count(), note)
        self._began, self._spent = time.perf_counter(), TimeSpent({}, 0.0)
        self._writer = CheckpointWriter(path / CHECKPOINTS, note)

    def best(self, weights: Array) -> None:
        """Keep the weights of the best epoch so far."""
        write_tensors(self.path / BEST, {"weights": weights})

    def step(self, record: StepRecord) -> None:
        """Log a step."""
        self._log.append(record)

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is so long ago that the next one should not wait for the epoch's end."""
        return time.monotonic() - self._last > self._seconds

    def checkpoint(self, step: int, state: Array, sums: Sums, recoveries: int, health: Any) -> None:
        """Keep the state after ``step`` steps; the disk is written to meanwhile, not now."""
        self._log.flush()
        self._last = time.monotonic()
        described = {**self._described, "epoch": sums.to_json(), "recoveries": recoveries, "health": health}
        self._writer.offer(Checkpoint(step, state, self._slots, described))

    def written(self) -> list[tuple[int, Path]]:
        """Return the steps and paths of the checkpoints that have come to the disk since this was asked last."""
        return self._writer.written()

    def begin_epoch(self, spent: TimeSpent) -> None:
        """Note what everybody has done with their time before an epoch's first step here."""
        self._began, self._spent = time.perf_counter(), spent

    def end_epoch(self, record: dict[str, Any], seconds: float, spent: TimeSpent) -> None:
        """Keep an epoch's record, and where its time went: the ``seconds`` of its steps here."""
        self._directory.write_metrics(record)
        computing = {name: each - self._spent.computing.get(name, 0.0) for name, each in spent.computing.items()}
        self.timeline.epoch(record["epoch"], self._began, seconds, computing, spent.serving - self._spent.serving)

    def ended(self, step: int, error: TrainingError) -> None:
        """Note that the run did not come to its end."""
        self.timeline.ended(step, "interrupted" if isinstance(error, Interrupted) else "failed", str(error))

    def diverged(self, record: dict[str, Any]) -> None:
        """Keep the record of an epoch that came to no end."""
        self._directory.write_metrics(record)

    def summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, which marks the run as finished."""
        self._writer.close()
        self._log.flush()
        self._directory.write_summary(summary)
        self.timeline.ended(summary["steps"], "finished")

    def close(self) -> None:
        """Write what is waiting."""
        self._writer.close()
        self._log.flush()

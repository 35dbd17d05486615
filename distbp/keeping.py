"""What a run finds on the disk when it goes on after a break, and whether it may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.config import NEVER_CHANGES_THE_RESULT, Config, name_of
from distbp.data.dataset import Array
from distbp.errors import RunError, UsageError
from distbp.files import read_json, read_tensors
from distbp.network import Network
from distbp.nn.structure import Structure
from distbp.runs.checkpoints import Checkpoint, newest_checkpoint
from distbp.runs.directory import BEST, CHECKPOINTS, CONFIG, SUMMARY, held, read_metrics
from distbp.runs.leftovers import remove_remains
from distbp.runs.model import read_connections

Note = Callable[[str], None]


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
        return config_of(self.settings)

    def network(self, config: Config | None = None) -> Network:
        """Return the network as it was; parts of the user's own are found in ``config`` by their names."""
        own: dict[str, Any] = {}
        if config is not None:
            parts = (*config.hidden_activations, config.output, config.cost)
            own = {name_of(part): part for part in parts if part is not None and not isinstance(part, str)}
        described = self.checkpoint.described["structure"]
        connections = read_connections(self.path, len(described["activations"]))
        try:
            structure = Structure(
                tuple(described["sizes"]),
                tuple(own.get(name, name) for name in described["activations"]),
                own.get(described["cost"], described["cost"]),
                connections,
            )
        except UsageError as error:
            raise RunError(f"{self.path} was trained with parts of its own: pass them in config ({error})") from error
        return Network.of(structure, self.checkpoint.state[0])

    def epochs(self, steps_per_epoch: int) -> int:
        """Return the epochs that have come to their end; the last one's steps may be done without that."""
        done = self.checkpoint.step // steps_per_epoch
        ends_open = self.checkpoint.step % steps_per_epoch == 0 and self.checkpoint.described["epoch"]["rows"] > 0
        return done - ends_open

    def history(self, epochs: int) -> list[Mapping[str, Any]]:
        """Return the records of the first ``epochs`` epochs, or as many of them as found room on the disk."""
        return list(read_metrics(self.path)[:epochs])

    @property
    def best(self) -> Array | None:
        """The weights of the best epoch, None if none were kept."""
        return read_tensors(self.path / BEST)[0].get("weights") if (self.path / BEST).exists() else None

    def state_for(self, initial: Array) -> Array:
        """Return the state to go on from; where another optimizer was forced on the run, with its initial vectors."""
        if initial.shape == self.checkpoint.state.shape and initial.dtype == self.checkpoint.state.dtype:
            return self.checkpoint.state
        initial[0] = self.checkpoint.state[0]
        return initial


def check_settings(
    path: Path, settings: Mapping[str, Any], config: Config, found: Mapping[str, Any], force: bool
) -> None:
    """Refuse to go on with something else than what a run began with.

    Args:
        path: the run's directory.
        settings: what its config.json holds.
        config: the settings now.
        found: what was found of data and arithmetic, as in config.json; what is not there is not compared.
        force: let all differ but what makes another network.

    Raises:
        RunError: the data, a setting that changes the result, or the arithmetic is another one.
    """
    now = config.to_json()
    differ = [name for name in now if now[name] != settings.get(name, now[name])]
    names = [name for name in differ if name not in NEVER_CHANGES_THE_RESULT]
    changed = [f"{name} is {now[name]}, was {settings[name]}" for name in names]
    if "data_sha256" in found and found["data_sha256"] != settings.get("data_sha256"):
        changed.insert(0, "the data are not the same")
    before, here = settings.get("arithmetic", {}), found.get("arithmetic", {})
    changed += [f"{name} is {here[name]}, was {before.get(name)}" for name in here if here[name] != before.get(name)]
    another = [name for name in names if name in _THE_NETWORK]
    if changed and (another or not force):
        what = f"{path} cannot go on as it began: {'; '.join(changed)}"
        if another:
            raise RunError(f"{what}; that would be another network: start a new run")
        raise RunError(f"{what}; --force goes on all the same, with another result")


def config_of(settings: Mapping[str, Any]) -> Config:
    """Return the settings that a config.json holds beside what it says of data and machine."""
    return Config.from_settings({name: value for name, value in settings.items() if name not in _DESCRIBED})


_DESCRIBED = {"data", "data_sha256", "arithmetic"}
_THE_NETWORK = {"hidden", "activation", "output", "cost", "dtype"}


def is_finished(path: Path) -> bool:
    """Return whether the run in this directory came to its end."""
    return (path / SUMMARY).exists()


def is_begun(path: Path) -> bool:
    """Return whether this directory holds a run that has come as far as its first checkpoint."""
    return (path / CONFIG).exists() and any((path / CHECKPOINTS).glob("step-*.safetensors"))


def forget_unbegun(path: Path, note: Note, take_over: bool = False) -> None:
    """Make room for a run where one was killed before it had anything to go on from."""
    if not is_begun(path) and not is_finished(path) and path.is_dir():
        with held(path, note, take_over):
            if not is_begun(path) and not is_finished(path):  # it may have gone on meanwhile
                (path / CONFIG).unlink(missing_ok=True)
                remove_remains(path)


def check_begun(path: Path) -> None:
    """Raise UsageError if this directory holds no run."""
    if not (path / CONFIG).exists():
        raise UsageError(f"{path} holds no run: expected a directory that distbp train made")


def read_past(path: Path, note: Note) -> Past:
    """Read the run that was left in this directory.

    Raises:
        UsageError: there is none.
        RunError: it cannot be read, or it has no good checkpoint.
    """
    check_begun(path)
    settings = read_json(path / CONFIG)
    checkpoint = newest_checkpoint(path / CHECKPOINTS, note)
    if checkpoint is None:
        raise RunError(f"{path} holds no good checkpoint to go on from: start the run again in another directory")
    return Past(path, settings, checkpoint)

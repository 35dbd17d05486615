"""What a run finds on the disk when it goes on after a break, and whether it may."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distbp.config import (
    BESIDE_THE_SETTINGS,
    CONFIG_JSON,
    NEVER_CHANGES_THE_RESULT,
    Config,
    deciding_sha256,
    name_of,
)  # fmt: skip
from distbp.data.dataset import Array
from distbp.errors import RunError, UsageError
from distbp.files.json_files import read_sealed
from distbp.files.regular import check_regular
from distbp.model.files import CONNECTIONS, read_connections, read_weights
from distbp.model.network import Network
from distbp.nn.structure import Structure
from distbp.runs.checkpoints import Checkpoint, check_described, newest_checkpoint
from distbp.runs.directory import BEST, CHECKPOINTS, CONFIG, held
from distbp.runs.leftovers import remove_partial_files
from distbp.runs.records import METRICS, SUMMARY, history_of
from distbp.runs.steplog import NAME as STEPS
from distbp.runs.timeline import NAME as TIMELINE

Note = Callable[[str], None]


@dataclass(frozen=True)
class SavedRun:
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

    def changes(self) -> list[str]:
        """Return in what the settings in config.json are not those that the checkpoint was made with."""
        bound = self.checkpoint.described.get("settings_sha256")
        if bound is None or bound == deciding_sha256(self.settings):
            return []
        return [f"{CONFIG} is not what its checkpoint of step {self.checkpoint.step} was made with"]


def check_settings(
    path: Path,
    settings: Mapping[str, Any],
    config: Config,
    found: Mapping[str, Any],
    force: bool,
    changed: Sequence[str] = (),
    is_done: bool = False,
) -> None:
    """Refuse to go on with something else than what a run began with, or to take it for that if it is finished.

    Args:
        path: the run's directory.
        settings: what its config.json holds.
        config: the settings now.
        found: what was found of data and arithmetic, as in config.json; what is not there is not compared.
        force: let all differ but what makes another network.
        changed: what is known to differ.
        is_done: whether the run is finished.

    Raises:
        RunError: the data, a setting that changes the result, or the arithmetic is another one.
    """
    now = config.to_json()
    differ = [name for name in now if now[name] != settings.get(name, now[name])]
    names = [name for name in differ if name not in NEVER_CHANGES_THE_RESULT]
    changed = [*changed, *(f"{name} is {now[name]}, was {settings[name]}" for name in names)]
    if "data_sha256" in found and found["data_sha256"] != settings.get("data_sha256"):
        changed.insert(0, "the data are not the same")
    before, here = settings.get("arithmetic", {}), found.get("arithmetic", {})
    changed += [f"{name} is {here[name]}, was {before.get(name)}" for name in here if here[name] != before.get(name)]
    another = [name for name in names if name in _THE_NETWORK]
    if changed and (another or not force):
        told = "; ".join(changed)
        if is_done:
            raise RunError(
                f"{path} is finished, but not with this: {told}; choose another --run-dir, or --force to take the "
                "finished run as it is"
            )
        what = f"{path} cannot go on as it began: {told}"
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


def given_place(workers: int | str | None, address: str | None, insecure: bool) -> dict[str, Any]:
    """Return by their names the settings of where to compute that are given."""
    given = {"workers": workers, "address": address, "insecure": insecure or None}
    return {name: value for name, value in given.items() if value is not None}


def config_on(config: Config, path: Path, given: Mapping[str, Any]) -> Config:
    """Return the settings of the run in ``path`` with what is ``given`` of workers, address and insecure.

    A run directory may come from anybody, and the cluster that its settings name would get the data and run code here:
    so they never say where to compute.

    Raises:
        UsageError: the run was on a cluster, and nothing that is given says where it is to go on.
    """
    if config.address is not None and "address" not in given and "workers" not in given:
        raise UsageError(
            f"{path} was computed on the Ray cluster at {config.address}: add --address {shlex.quote(config.address)} "
            "to use that one again, or --workers N to compute on this machine"
        )
    return replace(config, **{"address": None, "insecure": False, **given})


def resume_command(path: Path, address: str | None) -> str:
    """Return the command that goes on with the run in this directory, on the cluster at ``address`` if it has one.

    >>> resume_command(Path("my run"), "head:6379")
    "distbp resume 'my run' --address head:6379"
    """
    return shlex.join(["distbp", "resume", str(path), *(["--address", address] if address else [])])


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
                remove_partial_files(path)


def check_begun(path: Path) -> None:
    """Raise UsageError if this directory holds no run."""
    if not (path / CONFIG).exists():
        raise UsageError(f"{path} holds no run: expected a directory that distbp train made")


def read_saved(path: Path, note: Note) -> SavedRun:
    """Read the run that was left in this directory.

    Raises:
        UsageError: there is none.
        RunError: it cannot be read, or it has no good checkpoint.
    """
    check_begun(path)
    for name in (CONFIG, METRICS, STEPS, TIMELINE, BEST, CONNECTIONS):
        check_regular(path / name)  # whatever is read or written later never waits
    settings, has_sum = read_sealed(path / CONFIG, CONFIG_JSON)
    checkpoint = newest_checkpoint(path / CHECKPOINTS, note, check_described)
    if checkpoint is None:
        raise RunError(f"{path} holds no good checkpoint to go on from: start the run again in another directory")
    if not has_sum and "settings_sha256" not in checkpoint.described:
        note(f"{path / CONFIG} carries no sum, as it was written by an earlier version: a change would not be noticed")
    return SavedRun(path, settings, checkpoint)

"""Saved runs: reads what a resumed run needs, and checks that it continues with the same result."""

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
)
from distbp.data.dataset import Array
from distbp.errors import RunError, UsageError
from distbp.files.json_files import read_sealed
from distbp.files.regular import check_regular
from distbp.model.files import CONNECTIONS, read_connections, read_weights
from distbp.model.network import Network
from distbp.nn.structure import Structure
from distbp.runs.checkpoints import Checkpoint, check_described, newest_checkpoint
from distbp.runs.directory import BEST, CHECKPOINTS, CONFIG, lock_run
from distbp.runs.listing import remove_partial_files
from distbp.runs.records import METRICS, SUMMARY, read_history
from distbp.runs.steplog import NAME as STEPS
from distbp.runs.timeline import NAME as TIMELINE

Note = Callable[[str], None]


@dataclass(frozen=True)
class SavedRun:
    """An unfinished run on the disk: its settings and its newest good checkpoint."""

    path: Path
    settings: Mapping[str, Any]
    """The content of config.json."""
    checkpoint: Checkpoint

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return config_of(self.settings, self.path)

    def network(self, config: Config | None = None) -> Network:
        """Return the network of the checkpoint; custom functions are taken from ``config`` by their names."""
        custom: dict[str, Any] = {}
        if config is not None:
            parts = (*config.hidden_activations, config.output, config.cost)
            custom = {name_of(part): part for part in parts if part is not None and not isinstance(part, str)}
        described = self.checkpoint.described["structure"]
        has_connections = self.checkpoint.described.get("has_connections")
        connections = read_connections(self.path, len(described["activations"]), has_connections)
        try:
            structure = Structure(
                tuple(described["sizes"]),
                tuple(custom.get(name, name) for name in described["activations"]),
                custom.get(described["cost"], described["cost"]),
                connections,
            )
        except UsageError as error:
            raise RunError(f"{self.path} was trained with custom functions: pass them in config ({error})") from error
        if self.checkpoint.state.shape[1] != structure.parameter_count:
            raise RunError(f"the checkpoints in {self.path} do not hold the {structure.parameter_count:,} parameters")
        return Network.of(structure, self.checkpoint.state[0])

    def epochs(self, steps_per_epoch: int) -> int:
        """Return the number of epochs done; an epoch without its evaluation does not count."""
        epochs, steps_done = divmod(self.checkpoint.step, steps_per_epoch)
        is_unevaluated = steps_done == 0 and self.checkpoint.described["epoch"]["rows"] > 0
        return epochs - 1 if is_unevaluated else epochs

    def history(self, epochs: int, config: Config) -> list[Mapping[str, Any]]:
        """Return the records of the first ``epochs`` epochs; some may be missing if no setting depends on them."""
        decides = config.early_stopping is not None or config.schedule == "plateau"
        return [*read_history(self.path, epochs, decides, bool(config.validation_fraction))]

    def best_weights(self, epochs: int, config: Config) -> Array | None:
        """Return the weights of the best of the first ``epochs`` epochs, None without early stopping."""
        if config.early_stopping is None or not epochs:
            return None
        return read_weights(self.path / BEST, self.checkpoint.state[0])

    def state_for(self, initial: Array) -> Array:
        """Return the checkpoint's state; if the optimizer was changed, only its weights, with ``initial`` vectors."""
        if initial.shape == self.checkpoint.state.shape and initial.dtype == self.checkpoint.state.dtype:
            return self.checkpoint.state
        initial[0] = self.checkpoint.state[0]
        return initial

    def changed_settings(self) -> list[str]:
        """List the change of config.json since the checkpoint was written, if there is one."""
        expected = self.checkpoint.described.get("settings_sha256")
        if expected is None or expected == deciding_sha256(self.settings):
            return []
        return [f"{CONFIG} was changed after the checkpoint of step {self.checkpoint.step}"]


def check_settings(
    path: Path,
    settings: Mapping[str, Any],
    config: Config,
    actual: Mapping[str, Any],
    force: bool,
    changed: Sequence[str] = (),
    is_done: bool = False,
) -> None:
    """Check that a saved run has the same data, settings and arithmetic as requested now.

    Args:
        path: the run directory.
        settings: the content of its config.json.
        config: the settings now.
        actual: data and arithmetic now, named as in config.json; missing names are not compared.
        force: allow all differences but those that make another network.
        changed: differences that are known already.
        is_done: whether the run is finished.

    Raises:
        RunError: the data, a setting that changes the result, or the arithmetic differs.
    """
    now = config.to_json()
    names = [name for name in now if now[name] != settings.get(name, now[name])]
    names = [name for name in names if name not in NEVER_CHANGES_THE_RESULT]
    changed = [*changed, *(f"{name} is {now[name]}, was {settings[name]}" for name in names)]
    if "data_sha256" in actual and actual["data_sha256"] != settings.get("data_sha256"):
        changed.insert(0, "the data are not the same")
    old, new = settings.get("arithmetic", {}), actual.get("arithmetic", {})
    changed += [f"{name} is {new[name]}, was {old.get(name)}" for name in new if new[name] != old.get(name)]
    is_other_network = any(name in _OF_THE_NETWORK for name in names)
    if changed and (is_other_network or not force):
        differences = "; ".join(changed)
        if is_done:
            raise RunError(
                f"{path} is finished, but differs: {differences}; choose another --run-dir, or --force to accept the "
                "finished run"
            )
        what = f"{path} cannot be resumed with the same result: {differences}"
        if is_other_network:
            raise RunError(f"{what}; that would be another network: start a new run")
        raise RunError(f"{what}; --force resumes it with another result")


def config_of(settings: Mapping[str, Any], run: Path = Path()) -> Config:
    """Return the settings in a config.json, without the entries about data and machine.

    Raises:
        RunError: this version does not know such settings.
    """
    try:
        return Config.from_settings({name: each for name, each in settings.items() if name not in BESIDE_THE_SETTINGS})
    except UsageError as error:
        raise RunError(f"{run / CONFIG} cannot be used: {error}") from error


def compute_options(workers: int | str | None, address: str | None, insecure: bool) -> dict[str, Any]:
    """Return those of the options workers, address and insecure that are given, by their names."""
    given = {"workers": workers, "address": address, "insecure": insecure or None}
    return {name: value for name, value in given.items() if value is not None}


def with_compute_options(config: Config, path: Path, given: Mapping[str, Any]) -> Config:
    """Return a saved run's settings, with the options ``given`` for where to compute.

    The run directory may come from a stranger, and a cluster named in its settings would receive the data and could run
    code in this process; so the settings never decide where to compute.

    Raises:
        UsageError: the run used a cluster, and neither a cluster nor a number of workers is given.
    """
    if config.address is not None and "address" not in given and "workers" not in given:
        raise UsageError(
            f"{path} was computed on the Ray cluster at {config.address}: add --address {shlex.quote(config.address)} "
            "to use it again, or --workers N to compute on this machine"
        )
    return replace(config, **{"address": None, "insecure": False, **given})


def resume_command(path: Path, address: str | None) -> str:
    """Return the command that resumes a run, on the cluster at ``address`` if there is one.

    >>> resume_command(Path("my run"), "head:6379")
    "distbp resume 'my run' --address head:6379"
    """
    return shlex.join(["distbp", "resume", str(path), *(["--address", address] if address else [])])


_OF_THE_NETWORK = {"hidden", "activation", "output", "cost", "dtype"}


def is_finished(path: Path) -> bool:
    """Return whether the run in this directory is finished."""
    return (path / SUMMARY).exists()


def has_checkpoint(path: Path) -> bool:
    """Return whether this directory holds a run that has written a checkpoint."""
    return (path / CONFIG).exists() and any((path / CHECKPOINTS).glob("step-*.safetensors"))


def discard_unresumable(path: Path, note: Note, take_over: bool = False) -> None:
    """Remove the files of a run that was killed before its first checkpoint, so that the directory can be reused."""
    if not has_checkpoint(path) and not is_finished(path) and path.is_dir():
        with lock_run(path, note, take_over):
            if not has_checkpoint(path) and not is_finished(path):  # the run may have gone on before the lock
                (path / CONFIG).unlink(missing_ok=True)
                remove_partial_files(path)


def check_run_exists(path: Path) -> None:
    """Raise UsageError if this directory does not hold a run."""
    if not (path / CONFIG).exists():
        raise UsageError(f"{path} contains no run: expected a directory that distbp train wrote")


def read_saved(path: Path, note: Note) -> SavedRun:
    """Read the unfinished run in this directory.

    Raises:
        UsageError: there is none.
        RunError: it cannot be read, or it has no good checkpoint.
    """
    check_run_exists(path)
    for name in (CONFIG, METRICS, STEPS, TIMELINE, BEST, CONNECTIONS):
        check_regular(path / name)  # a named pipe, for example, would block when read or written later
    settings, has_sum = read_sealed(path / CONFIG, CONFIG_JSON)
    checkpoint = newest_checkpoint(path / CHECKPOINTS, note, check_described)
    if checkpoint is None:
        raise RunError(f"{path} holds no good checkpoint to resume from: start the run again in another directory")
    if not has_sum and "settings_sha256" not in checkpoint.described:
        note(f"{path / CONFIG} has no checksum, since an earlier version wrote it: a change would not be noticed")
    return SavedRun(path, settings, checkpoint)

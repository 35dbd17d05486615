"""Training: from data and settings to a trained network, from the start or from the checkpoint of a saved run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distbp.config import Config, Settings
from distbp.data.dataset import DataSet
from distbp.data.epoch_order import EpochOrder
from distbp.data.fingerprint import data_fingerprint
from distbp.data.loading import load_as
from distbp.data.reading import Reading
from distbp.data.reporting import Progress as ReadProgress
from distbp.data.sources import Source, address_of
from distbp.errors import RunError, UsageError
from distbp.files.json_files import read_json
from distbp.files.locks import Lock
from distbp.model.network import Network
from distbp.nn.structure import Structure
from distbp.parallel.step.layer_hashes import layer_hashes
from distbp.runs.directory import CONFIG, check_unused, lock_new_run, lock_run
from distbp.runs.listing import remove_partial_files
from distbp.runs.saved import (
    SavedRun,
    check_run_exists,
    check_settings,
    compute_options,
    read_saved,
    with_compute_options,
)
from distbp.runs.writer import NoWriter, RunWriter
from distbp.system.arithmetic import fingerprint
from distbp.system.blas import one_thread, unpinned_notes
from distbp.system.folders import memory_folder, remove_leftovers, temporary_folder
from distbp.system.signals import interrupts
from distbp.training.baseline import baselines
from distbp.training.callbacks import Callback, Callbacks
from distbp.training.early_stopping import EarlyStopping
from distbp.training.evaluation import Evaluator
from distbp.training.events import run_record
from distbp.training.executors import (
    WorkersAdvice,
    initial_state,
    measure_in_process,
    read_while_starting_ray,
    start_executor,
)
from distbp.training.loop import TrainingLoop
from distbp.training.progress import Progress
from distbp.training.result import Result
from distbp.training.setup import notes, settle, with_network, with_parts
from distbp.training.sources import Sources
from distbp.training.summary import Summary

_ADVICE_SECONDS = 0.15
"""Time for which steps are measured in this process, to advise users whose workers are slower."""


def train(
    data: Source | Sequence[Source],
    config: Config | None = None,
    *,
    network: Network | None = None,
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    started: float | None = None,
    **settings: Any,
) -> Result:
    """Train a network by data-parallel mini-batch gradient descent.

    Args:
        data: a built-in name, a path, a pair of arrays (x, y), a loaded data set, or a list of paths.
        config: the settings; or give them by name instead (see :class:`distbp.Config`).
        network: start from this network's structure and weights; it is not changed.
        run_dir: write the run to this directory, which must not hold a run yet; None writes nothing.
        callbacks: watch the run, and may end it.
        started: the ``time.perf_counter()`` from which the summary's wall_seconds count; None for now.

    Raises:
        UsageError: a setting is wrong, or the run directory holds a run already.
        DataError: the data cannot be used.
        ClusterError: Ray cannot be reached, or has too few resources.
        TrainingError: the run diverged, lost its last worker or server, or was ended by a callback.

    >>> result = train("digits", workers=0, hidden=(32,), epochs=20)
    >>> result.summary["test_accuracy"] > 0.9
    True
    """
    if config is not None and not isinstance(config, Config):
        raise UsageError(f"config must be a distbp.Config, found {type(config).__name__}")
    if config is not None and settings:
        raise UsageError(f"give a config or settings by name, not both: found {', '.join(settings)}")
    wanted = config or Config.from_settings(settings)
    if network is not None:
        wanted = with_network(wanted, network)
    if run_dir is not None:
        check_unused(Path(run_dir))
    sources, watchers = Sources(data), Callbacks(callbacks)
    del data  # from here on, only `sources` holds the data
    started = time.perf_counter() if started is None else started
    if run_dir is None:
        return _Run(sources, wanted, watchers, started, network).result()
    with lock_new_run(Path(run_dir), watchers.note) as lock:
        return _Run(sources, wanted, watchers, started, network, lock).result()


def resume(
    run: str | Path,
    data: Source | Sequence[Source] | None = None,
    config: Config | None = None,
    *,
    workers: int | str | None = None,
    address: str | None = None,
    insecure: bool = False,
    force: bool = False,
    take_over: bool = False,
    callbacks: Sequence[Callback] = (),
    started: float | None = None,
) -> Result:
    """Resume a run from its newest good checkpoint; the result is that of an uninterrupted run.

    Args:
        run: its directory.
        data: where the data are now, if they were moved; arrays must be given again.
        config: the settings; None for those of the run. Only settings that never change the result may differ.
        workers: the number of workers from now on; None for that of the run.
        address: the Ray cluster to use from now on. A run directory never decides where to compute: resuming a run
            that used a cluster needs ``address`` again, or ``workers`` to use this machine.
        insecure: use a cluster on another machine even if no token protects it.
        force: resume even with other data, settings or arithmetic; the result then differs.
        take_over: resume even if another process, perhaps on another host, holds the run; that process then ends.
        callbacks: watch the run, and may end it.
        started: the ``time.perf_counter()`` from which the summary's wall_seconds count; None for now.

    Raises:
        UsageError: there is no run, or it used a cluster and neither ``address`` nor ``workers`` is given.
        RunError: the run cannot be resumed, or not with the same result.
        DataError, ClusterError, TrainingError: as in :func:`train`.
    """
    check_run_exists(Path(run))
    for base in {memory_folder(), temporary_folder()}:  # a killed process of this run may have left folders there
        remove_leftovers(base)
    watchers, early_notes = Callbacks(callbacks), list[str]()
    with lock_run(Path(run), watchers.note, take_over) as lock:
        remove_partial_files(Path(run))
        saved = read_saved(Path(run), early_notes.append)
        if data is None:
            data = saved.settings.get("data", "arrays")
            if "arrays" in data:
                raise RunError(f"the data of {run} were arrays of the program that began it: pass them as data")
        sources = Sources(data)
        del data  # from here on, only `sources` holds the data
        given = compute_options(workers, address, insecure)
        wanted = (
            replace(config, **given) if config is not None else with_compute_options(saved.config, saved.path, given)
        )
        started = time.perf_counter() if started is None else started
        network = saved.network(wanted)
        return _Run(sources, wanted, watchers, started, network, lock, saved, force, early_notes).result()


def check_finished(run: Path, data: Sequence[Source], config: Config) -> None:
    """Check that a finished run was trained with these data and settings.

    The data are read only if their address differs from the recorded one.

    Raises:
        RunError: the data or settings differ.
    """
    settings, sources = read_json(run / CONFIG), list(data)
    task = "classification" if read_json(run / "model.json").get("classes") else "regression"
    actual = {}
    if [address_of(source) for source in sources] != settings.get("data"):
        actual["data_sha256"] = data_fingerprint(load_as(sources, Reading.of(config)))
    check_settings(run, settings, _with_absolute_test_file(config).for_task(task), actual, force=False, is_done=True)


def _with_absolute_test_file(config: Config) -> Config:
    """Return the settings with a test file that can be found from any folder."""
    return config if config.test_file is None else replace(config, test_file=str(Path(config.test_file).absolute()))


@dataclass(frozen=True)
class _Run:
    """A requested run: data, settings, and the saved run to resume, if there is one."""

    sources: Sources
    wanted: Config
    callbacks: Callbacks
    started: float
    network: Network | None
    lock: Lock | None = None
    saved: SavedRun | None = None
    force: bool = False
    early_notes: Sequence[str] = ()
    """Notes from before the data are read."""

    def result(self) -> Result:
        """Train; return the result."""
        with one_thread(self.wanted.threads), ExitStack() as stack:
            loop = self._loop(stack)
            with self.callbacks.until_end():
                return loop.run()

    def _loop(self, stack: ExitStack) -> TrainingLoop:
        """Return the training loop, ready to run; ``stack`` stops its executor and closes its writer.

        Only this call holds the training rows: when it returns, they are freed unless the executor still needs them.
        """
        note = self.callbacks.note
        data, recorded, data_notes = self._data(stack)
        config, structure = settle(_with_absolute_test_file(self.wanted), data, self.network)
        for text in (*data_notes, *notes(config, data)):
            note(text)
        summary = Summary(baselines(data, config.dtype, note), self.started)
        steps_per_epoch = EpochOrder.of(config, len(data.train)).steps_per_epoch
        steps = config.epochs * steps_per_epoch
        step, state = 0, initial_state(structure, config, self.network)
        progress = Progress(EarlyStopping(config.early_stopping))
        if self.saved is not None:
            saved = self.saved
            check_settings(saved.path, saved.settings, config, recorded, self.force, saved.changed_settings())
            step, state = saved.checkpoint.step, saved.state_for(state)
            progress = self._saved_progress(saved, config, steps_per_epoch, steps)
        is_fixed, is_local = not config.workers.is_auto, config.address is None
        process_step = None
        if is_fixed and is_local and not config.workers.in_process:
            process_step = measure_in_process(structure, config, data.train, state, _ADVICE_SECONDS).step
        hashes = layer_hashes(structure, state[0])
        executor = start_executor(stack, structure, config, data.train, state, note, steps - step, step)
        writer = stack.enter_context(
            closing(self._writer(recorded, structure, executor.config, steps_per_epoch, hashes))
        )
        evaluator = Evaluator(structure, data)
        run = run_record(executor, evaluator, len(data.train), steps_per_epoch, writer.path)
        advice = WorkersAdvice(is_fixed, process_step)
        return TrainingLoop(executor, evaluator, run, progress, summary, advice, writer, self.callbacks)

    def _writer(
        self,
        recorded: Mapping[str, Any],
        structure: Structure,
        config: Settings,
        steps_per_epoch: int,
        hashes: tuple[int, ...],
    ) -> RunWriter | NoWriter:
        """Return the writer to the locked run directory, if there is one."""
        if self.lock is None:
            return NoWriter()
        described = {**recorded, **config.to_json()}
        note = self.callbacks.note
        return RunWriter(self.lock, described, structure, config, steps_per_epoch, hashes, note, self.saved)

    def _data(self, stack: ExitStack) -> tuple[DataSet, dict[str, Any], list[str]]:
        """Return the data in parts, the entries of config.json about data and machine, and notes about reading."""
        wanted = _with_absolute_test_file(self.wanted)
        read_notes = [*self.early_notes, *unpinned_notes()]

        def read() -> DataSet:
            return self.sources.read(Reading.of(wanted), read_notes.append, self._reading_progress())

        # large data are read before Ray starts, in the main thread, which can be interrupted
        is_large = self.sources.is_large
        data = read() if is_large else read_while_starting_ray(stack, wanted, read, self.callbacks.note)
        recorded: dict[str, Any] = {"arithmetic": fingerprint()}
        if self.lock is not None:
            recorded |= {"data": self.sources.addresses, "data_sha256": data_fingerprint(data)}
        return with_parts(wanted, data), recorded, read_notes

    def _reading_progress(self) -> ReadProgress:
        """Return a function that passes the progress of reading to the callbacks and stops on an interrupt."""

        def progress(done: int, total: int) -> None:
            if interrupts:  # signals reach only the main thread, which waits for the reading thread
                raise KeyboardInterrupt
            self.callbacks.notify("on_reading", done, total)

        return progress

    def _saved_progress(self, saved: SavedRun, config: Settings, steps_per_epoch: int, steps: int) -> Progress:
        """Return the progress of the saved run; note from where it is resumed."""
        progress = Progress.resumed(saved, config, steps_per_epoch)
        recorded, epochs = len(progress.history), saved.epochs(steps_per_epoch)
        if recorded < epochs:
            self.callbacks.note(
                f"{saved.path} has the records of {recorded} epochs of {epochs}; the run goes on without the others"
            )
        self.callbacks.note(f"{saved.path} resumes after step {saved.checkpoint.step} of {steps}")
        return progress

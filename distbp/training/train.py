"""Training: from settings and data to a trained network, from the beginning or from where a run was left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from distbp.config import Config
from distbp.data.dataset import DataSet
from distbp.data.fingerprint import data_fingerprint
from distbp.data.loading import load_as
from distbp.data.reading import Reading
from distbp.data.reporting import Progress
from distbp.data.sizes import is_large
from distbp.data.sources import Source, address_of
from distbp.errors import RunError, UsageError
from distbp.files.json_files import read_json
from distbp.files.locks import Lock
from distbp.model.network import Network
from distbp.parallel.step.layer_hashes import layer_hashes
from distbp.runs.directory import CONFIG, check_unused, held, made
from distbp.runs.leftovers import remove_partial_files
from distbp.runs.saved import SavedRun, check_begun, check_settings, config_on, given_place, read_saved
from distbp.runs.writer import RunWriter
from distbp.system.arithmetic import fingerprint
from distbp.system.blas import one_thread, unpinned_notes
from distbp.system.folders import memory_folder, remove_leftovers, temporary_folder
from distbp.system.signals import interrupts
from distbp.training.baseline import baselines
from distbp.training.callbacks import Callback, Callbacks
from distbp.training.executors import initial_state, measure_here, read_while_ray_starts, started_executor
from distbp.training.loop import TrainingLoop
from distbp.training.result import Result
from distbp.training.setup import notes, settle, with_network, with_parts


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
        network: start from this network's structure and weights (it is not changed).
        run_dir: keep the run there (it must not hold one yet); None keeps nothing.
        callbacks: told about the run while it goes on.
        started: the ``time.perf_counter()`` from which the summary's wall_seconds count; None for now.

    Raises:
        UsageError: a setting is wrong, or the run directory is taken.
        DataError: the data cannot be used.
        ClusterError: Ray cannot be reached, or has too little.
        TrainingError: the run diverged, lost its last peer, or was ended by a callback.

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
    sources = _listed(data)
    del data  # see below: the run must not keep a second copy
    if run_dir is None:
        return _train(sources, wanted, network, None, callbacks, started)
    with made(Path(run_dir), Callbacks(callbacks).note) as lock:
        return _train(sources, wanted, network, lock, callbacks, started)


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
    """Go on with a run that was left, from its newest good checkpoint: the result is that of a run without a break.

    Args:
        run: its directory.
        data: where the data are now, if not where they were; arrays must be given again.
        config: the settings; None for those of the run. Only those that never change the result may differ.
        workers: compute with so many workers from now on; None for as many as before.
        address: go on with this Ray cluster. Nothing in a run directory says where to compute: one that was on a
            cluster needs it again, or ``workers`` to go on on this machine.
        insecure: go on with a cluster on another machine although no token protects it.
        force: go on with other data, settings or arithmetic all the same; the result is another one then.
        take_over: go on although another process, perhaps on another host, holds the run; it ends when it notices.
        callbacks: told about the run while it goes on.
        started: the ``time.perf_counter()`` from which the summary's wall_seconds count; None for now.

    Raises:
        UsageError: there is no run, or nothing says where one that was on a cluster is to go on.
        RunError: it cannot go on, or not as it began.
        DataError, ClusterError, TrainingError: as in :func:`train`.
    """
    check_begun(Path(run))
    for base in {memory_folder(), temporary_folder()}:  # what a killed process of this run may have left there
        remove_leftovers(base)
    noted: list[str] = []
    with held(Path(run), Callbacks(callbacks).note, take_over) as lock:
        remove_partial_files(Path(run))
        past = read_saved(Path(run), noted.append)
        sources = _listed(data if data is not None else past.settings.get("data", "arrays"))
        if "arrays" in [source for source in sources if isinstance(source, str)]:
            raise RunError(f"the data of {run} were arrays of the program that began it: pass them as data")
        del data
        given = given_place(workers, address, insecure)
        wanted = replace(config, **given) if config is not None else config_on(past.config, past.path, given)
        return _train(sources, wanted, past.network(wanted), lock, callbacks, started, past, force, noted)


def check_finished(run: Path, data: Sequence[Source], config: Config) -> None:
    """Make sure that a finished run is what these data and settings ask for.

    The data are read only if they are elsewhere than they were.

    Raises:
        RunError: it is not.
    """
    settings, sources = read_json(run / CONFIG), list(data)
    task = "classification" if read_json(run / "model.json").get("classes") else "regression"
    found = {}
    if [address_of(source) for source in sources] != settings.get("data"):
        found["data_sha256"] = data_fingerprint(load_as(sources, Reading.of(config)))
    check_settings(run, settings, _with_test_file(config).for_task(task), found, force=False, is_done=True)


def _with_test_file(config: Config) -> Config:
    """Return the settings with a test file that can be found again from another folder."""
    return config if config.test_file is None else replace(config, test_file=str(Path(config.test_file).absolute()))


def _watched(callbacks: Sequence[Callback]) -> Progress:
    """Return what tells the callbacks how much has been read, and ends reading where the command was interrupted."""
    watching = Callbacks(callbacks)

    def progress(done: int, total: int) -> None:
        if interrupts:  # the main thread only waits for this one, which no signal reaches
            raise KeyboardInterrupt
        watching.tell("on_reading", done, total)

    return progress


def _noting(callbacks: Sequence[Callback]) -> Callable[[str], None]:
    """Return what tells the callbacks at once what cannot wait until the run begins."""
    telling = Callbacks(callbacks)

    def note(text: str) -> None:
        telling.tell("on_note", text)

    return note


def _listed(data: Source | Sequence[Source]) -> list[Source]:
    return list(data) if isinstance(data, list) else [data]


def _train(
    sources: list[Source],
    wanted: Config,
    network: Network | None,
    lock: Lock | None,
    callbacks: Sequence[Callback],
    started: float | None,
    past: SavedRun | None = None,
    force: bool = False,
    noted: Sequence[str] = (),
) -> Result:
    started = time.perf_counter() if started is None else started
    wanted = _with_test_file(wanted)
    names = [address_of(source) for source in sources]

    told: list[str] = [*noted, *unpinned_notes()]

    def read() -> DataSet:
        return load_as(sources, Reading.of(wanted), told.append, _watched(callbacks))

    with ExitStack() as stack:
        stack.enter_context(one_thread(wanted.threads))
        # what takes minutes is read before Ray starts, by the thread that an interrupt reaches
        loaded = read() if is_large(sources) else read_while_ray_starts(stack, wanted, read, _noting(callbacks))
        found: dict[str, Any] = {"arithmetic": fingerprint()}
        if lock is not None:
            found |= {"data": names, "data_sha256": data_fingerprint(loaded)}
        data_set = with_parts(wanted, loaded)
        del loaded
        config, structure = settle(wanted, data_set, network)
        run = TrainingLoop(structure, config, data_set, callbacks)
        for text in (*told, *notes(config, data_set)):
            run.note(text)
        train_rows, step, state = data_set.train, 0, initial_state(structure, config, network)
        run.baselines = baselines(data_set, config.dtype, run.note)
        # The workers' host keeps the training rows from here on; the run must not keep a second copy.
        sources.clear()
        del data_set
        if past is not None:
            check_settings(past.path, past.settings, config, found, force, past.changes())
            step, state = past.checkpoint.step, past.state_for(state)
            run.go_on(past)
        if config.workers not in ("auto", 0) and config.address is None:
            run.step_here = measure_here(structure, config, train_rows, state, seconds=0.15).step
        initial = layer_hashes(structure, state[0])
        steps_left = run.steps - step
        pool = stack.enter_context(started_executor(structure, config, train_rows, state, run.note, steps_left, step))
        del train_rows, state
        run.config = pool.config
        if lock is not None:
            described = {**found, **run.config.to_json()}
            keeper = RunWriter(lock, described, structure, run.config, run.steps_per_epoch, initial, run.note, past)
            run.keeper = stack.enter_context(closing(keeper))
        with run.callbacks.until_end():
            run.descend(pool)
            return run.finish(pool, started)

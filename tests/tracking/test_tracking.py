"""Runs logged to TensorBoard, MLflow and Ray's metrics, read back with those tools."""

import json
from contextlib import suppress

import pytest
from callers import EndAfter
from processes import ended, nothing_left, start_program

import distbp
from distbp.errors import Interrupted
from distbp.tracking import MLflow, RayMetrics, TensorBoard

SETTINGS = {"workers": 0, "hidden": (16,), "epochs": 4}


def events(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder), size_guidance={"histograms": 0, "scalars": 0})
    read.Reload()
    return read


@pytest.mark.filterwarnings("default")  # TensorBoard imports a deprecated module
def test_tensorboard_reads_what_was_written(tmp_path):
    result = distbp.train("digits", callbacks=[TensorBoard(tmp_path, every=5)], **SETTINGS)
    read = events(tmp_path)
    tags = read.Tags()
    assert {"train_cost", "test_cost", "test_accuracy", "lr", "step_cost", "layer1/gradient_norm"} <= set(
        tags["scalars"]
    )
    assert tags["histograms"] == ["layer1/w", "layer1/b", "layer2/w", "layer2/b"]
    costs = read.Scalars("test_cost")
    assert [event.step for event in costs] == [12, 24, 36, 48]
    assert [event.value for event in costs] == pytest.approx([record["test_cost"] for record in result.history])
    assert [event.step for event in read.Scalars("step_cost")] == list(range(5, 49, 5))
    last = read.Histograms("layer1/w")[-1].histogram_value
    w = result.network.structure.layers(result.network.weights)[0].w
    assert (last.num, last.sum) == (w.size, pytest.approx(w.sum(dtype="float64"), abs=1e-3))
    hparams = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    logged = hparams.HParamsPluginData.FromString(content).session_start_info.hparams
    assert logged["hidden"].string_value == "16"
    assert logged["lr"].number_value == pytest.approx(0.001)


@pytest.mark.filterwarnings("default")
def test_a_resumed_run_continues_its_events(tmp_path):
    with pytest.raises(Interrupted):
        distbp.train("digits", run_dir=tmp_path / "run", callbacks=[TensorBoard(tmp_path), EndAfter(30)], **SETTINGS)
    result = distbp.resume(tmp_path / "run", callbacks=[TensorBoard(tmp_path)])
    costs = events(tmp_path).Scalars("test_cost")
    assert [event.step for event in costs] == [12, 24, 36, 48]
    assert [event.value for event in costs] == pytest.approx([record["test_cost"] for record in result.history])


@pytest.mark.filterwarnings("default")
def test_a_trainer_loop_is_logged(tmp_path, store):
    from mlflow import MlflowClient

    tracker = MLflow("trees", store)
    watching = [TensorBoard(tmp_path / "board"), RayMetrics("elm"), tracker]
    with distbp.Trainer("digits", callbacks=watching, **SETTINGS) as trainer:
        costs = [record.cost for record in trainer]
    steps = events(tmp_path / "board").Scalars("step_cost")
    assert [event.value for event in steps] == pytest.approx(costs[9::10])
    assert MlflowClient(store).get_run(tracker.run_id).info.status == "FINISHED"


@pytest.fixture
def store(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "store").as_uri()


@pytest.mark.filterwarnings("default")  # MLflow's client emits warnings of its own
@pytest.mark.parametrize("end", ["FINISHED", "KILLED", "FAILED"])
def test_mlflow_shows_the_run(end, store, tmp_path):
    from mlflow import MlflowClient

    class Fails(distbp.Callback):
        def on_step(self, record):
            if record.step == 30:
                raise RuntimeError

    tracker = MLflow("trees", store, "oak")
    others = {"FINISHED": [], "KILLED": [EndAfter(30)], "FAILED": [Fails()]}[end]
    history = None
    with suppress(Interrupted, distbp.CallbackError):
        history = distbp.train("digits", run_dir=tmp_path / "run", callbacks=[tracker, *others], **SETTINGS).history
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("trees").experiment_id])
    assert (run.info.run_id, run.info.status, run.data.tags["mlflow.runName"]) == (tracker.run_id, end, "oak")
    assert run.data.params["hidden"] == "16"
    assert run.data.params["optimizer"] == "adam"
    costs = client.get_metric_history(run.info.run_id, "test_cost")
    steps = [12, 24, 36, 48] if end == "FINISHED" else [12, 24]
    assert sorted(metric.step for metric in costs) == steps
    kept = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"config.json", "metrics.jsonl"} <= kept
    if history is not None:
        assert run.data.metrics["test_cost"] == history[-1]["test_cost"]
        assert {"model.safetensors", "summary.json"} <= kept


@pytest.mark.long
@pytest.mark.ray
def test_a_ray_node_exports_the_run(tmp_path):
    pytest.importorskip("aiohttp", reason="ray[default] is not installed: no metrics are exported")
    with nothing_left() as environment:
        environment["RAY_metrics_report_interval_ms"] = "500"  # the default is ten seconds
        exporting = start_program("exports_to_ray", environment=environment, folder=tmp_path)
        out, err = ended(exporting)
    assert exporting.returncode == 0, err[-3000:]
    lines = json.loads(out.splitlines()[-1])
    values = {line.split("{")[0]: float(line.split()[-1]) for line in lines if 'run="elm"' in line}
    assert values["ray_distbp_epoch"] == 3
    assert values["ray_distbp_step"] == 36
    assert 0 < values["ray_distbp_test_accuracy"] <= 1
    assert values["ray_distbp_recoveries"] == 0

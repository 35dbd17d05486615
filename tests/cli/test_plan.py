"""``distbp plan``: its output and its errors."""

import json

import pytest

from distbp.cli import run
from distbp.parallel.mesh.cost import Machine

PLAN = ("plan", "digits", "--hosts")


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the measurements; these tests do not check their values."""
    monkeypatch.setattr("distbp.planning.hosts._SECONDS", 0.05)
    monkeypatch.setattr("distbp.planning.machine._SECONDS", 0.2)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]):
    def command(*arguments: str) -> str:
        assert run(arguments, 0.0) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return command


def test_the_table(printed, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(shard=200e-6, addition=2e-6, update=20e-6)
    monkeypatch.setattr("distbp.planning.hosts.measure_machine", lambda *given: machine)
    lines = printed(*PLAN, "1..12", "--batch-size", "256").splitlines()
    head, *rows = lines[:6]
    assert head.split()[:3] == ["hosts", "step", "ms"]
    assert [row.split()[0] for row in rows] == ["1", "2", "4", "8", "12"]
    conclusions = "\n".join(lines[6:])
    assert "adding hosts stops paying at 1:" in conclusions
    assert "9,610 parameters, 256 rows in 4 shards" in conclusions
    assert "4 shards keep 4 hosts busy, others stay idle; --shards 12 would use more" in conclusions


def test_json(printed) -> None:
    plan = json.loads(
        printed(*PLAN, "1..4", "--json", "--batch-size", "256", "--hidden", "512", "--link", "10gbit", "--servers", "2")
    )
    assert plan["link_bytes_per_s"] == 1.25e9
    assert plan["parameters"] == 64 * 512 + 512 + 512 * 10 + 10
    assert [step["hosts"] for step in plan["steps"]] == [1, 2, 4]
    assert [step["servers"] for step in plan["steps"]] == [None, 2, 2]
    alone, two, _ = plan["steps"]
    assert alone["step_ms"] == plan["alone"]["step_ms"]
    assert alone["link_bytes"] == 0
    assert two["link_bytes"] == pytest.approx(4 * plan["parameters"], abs=8)
    for step in plan["steps"]:
        assert step["samples_per_s"] == pytest.approx(256 / step["step_ms"] * 1000)
        assert step["speed_up"] == pytest.approx(alone["step_ms"] / step["step_ms"])
        assert step["idle_hosts"] == 0


def test_several_workers_per_host(printed) -> None:
    options = ("--per-host", "2", "--batch-size", "256", "--wire", "float16", "--link", "100mbit", "--json")
    plan = json.loads(printed(*PLAN, "3", *options))
    [step] = plan["steps"]
    assert (step["hosts"], step["idle_hosts"], plan["workers_per_host"]) == (3, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hosts", "0"), "'0' is neither a number of hosts"),
        (("--hosts", "5..2"), "'5..2'"),
        (("--hosts", "1.."), "'1..'"),
        (("--hosts", "..4"), "'..4'"),
        (("--hosts", "two"), "1..64"),
        (("--hosts", "1..99999"), "4096"),
        (("--hosts", "-1"), "-1"),
        (("--link", "1gbit"), "--hosts"),
        (("--per-host", "2"), "--hosts"),
        (("--address", "127.0.0.1:1"), "--hosts"),
        (("--hosts", "2", "--link", "fast"), "10gbit"),
        (("--hosts", "2", "--link", "0gbit"), "10gbit"),
        (("--hosts", "2", "--link", "10"), "10gbit"),
        (("--hosts", "2", "--per-host", "0"), "--per-host"),
        (("--hosts", "2", "--workers", "2"), "leave --workers out"),
        (("--hosts", "2", "--wire", "float8"), "unknown wire"),
        (("--hosts", "2", "--servers", "0"), "--servers"),
    ],
)
def test_bad_usage(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert run(("plan", "digits", *arguments), 0.0) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_missing_data_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("plan", "nowhere.npz", "--hosts", "2"), 0.0) == 1
    assert "nowhere.npz" in capsys.readouterr().err


def test_this_machine_alone(printed) -> None:
    plan = json.loads(printed("plan", "digits", "--batch-size", "256", "--workers", "8", "--epochs", "3", "--json"))
    assert (plan["parameters"], plan["batch_size"], plan["shards"]) == (9610, 256, 4)
    assert (plan["steps_per_epoch"], plan["epochs"]) == (6, 3)
    choices = {choice["workers"]: choice for choice in plan["choices"]}
    assert list(choices) == [0, 1, 2, 4, 8]
    for workers, choice in choices.items():
        assert 0 < choice["step_ms"] < float("inf")
        assert choice["epoch_seconds"] == pytest.approx(6 * choice["step_ms"] / 1000)
        assert (choice["run_seconds"] > 3 * choice["epoch_seconds"] + 1) == (workers > 0)
        assert (choice["shared_bytes"] > 0) == (workers > 0)
    assert choices[8]["step_ms"] == choices[4]["step_ms"]
    assert choices[2]["step_bytes"] == 2 * 2 * 4 * 9610
    assert plan["quickest_step"] == min(choices, key=lambda workers: choices[workers]["step_ms"])
    assert plan["best"] == 0


def test_the_table_of_this_machine(printed) -> None:
    lines = printed("plan", "digits", "--workers", "3").splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["0", "1", "2", "3"]
    assert "9,610 parameters, 128 rows in 2 shards" in lines[5]
    assert lines[6].startswith("best: --workers 0")
    assert "3 workers: 1 would stay idle" in lines[-1]


def test_a_run_that_diverges_in_its_first_steps_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("plan", "digits", "--optimizer", "sgd", "--lr", "1e30", "--workers", "1"), 0.0) == 1
    assert "diverges in its first steps" in capsys.readouterr().err


def test_too_much_memory_is_refused_before_it_is_allocated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("plan", "digits", "--hidden", "1000000,1000000"), 0.0) == 1
    _, err = capsys.readouterr()
    assert err.startswith("Error: 1,000,076,000,010 parameters would take ")
    assert "are free: try smaller --hidden" in err

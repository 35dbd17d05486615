"""The report in a real browser, offline, with mouse and keyboard.

Screenshots go to the folder named by DISTBP_TEST_SCREENSHOTS, else to pytest's own.
"""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from actor_processes import actors
from processes import HANG_SECONDS, ended, nothing_left, start, start_program, wait_until

import distbp
from distbp.report import page_data, write_page
from distbp.runs.records import metrics_line, read_metrics

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (group test)")
axe_core = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed (group test)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium")

MOST_BYTES = 3_000_000


class Kills(distbp.Callback):
    """Kills a worker at three moments."""

    def __init__(self):
        self.left = [40, 400, 900]

    def on_step(self, record):
        if self.left and record.step >= self.left[0]:
            for worker in actors("_Worker.work")[:1]:
                worker.kill()
                self.left.pop(0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train a healthy network, the same with another lr, one with vanishing gradients, and a regression."""
    folder = tmp_path_factory.mktemp("runs")
    distbp.train("digits", run_dir=folder / "healthy", workers=0, hidden=(32,), epochs=12)
    distbp.train("digits", run_dir=folder / "slower", workers=0, hidden=(32,), epochs=8, lr=0.0002)
    distbp.train("digits", run_dir=folder / "vanishing", workers=0, hidden=(20,) * 6, activation="sigmoid", epochs=4)
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 3))
    np.savez(folder / "plane.npz", X=x, y=x @ [1.0, -2.0, 0.5] + 0.1 * random.normal(size=600))
    distbp.train(folder / "plane.npz", run_dir=folder / "regression", workers=0, hidden=(16,), epochs=10)
    return folder


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, tmp_path, request):
    """Open a page; at the end check that it raised no errors and sent no requests elsewhere."""
    folder = Path(os.environ.get("DISTBP_TEST_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    messages, requested, own = [], [], []
    context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(1000 * HANG_SECONDS)
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda sent: requested.append(sent.url))

    def open_page(address):
        own.append(address)
        page.goto(address)
        page.wait_for_selector("footer")
        return page

    page.shoot = lambda name: page.screenshot(path=folder / f"{request.node.name}-{name}.png", full_page=True)
    yield open_page
    context.close()
    assert messages == []
    assert [url for url in requested if not url.startswith((*own, "data:"))] == []


def write(folder, *names):
    page = folder / f"{'-'.join(names)}.html"
    write_page(page, page_data([folder / name for name in names]))
    assert page.stat().st_size < MOST_BYTES
    return page.as_uri()


def check_access(page):
    """Check names, roles and contrast, in both themes."""
    for _ in range(2):
        result = axe_core.Axe().run(page)
        assert result.violations_count == 0, result.generate_report()
        page.click("#theme")


def zoomed(page):
    return page.evaluate("[plots[0].scales.x.min, plots[0].scales.x.max]")


def test_a_healthy_run(runs, opened):
    page = opened(write(runs, "healthy"))
    text = page.inner_text("main")
    for label in ("test accuracy", "12 of 12", "Confusion matrix", "Worst mistakes", "linear model", "this process"):
        assert label in text
    assert page.locator(".mistakes canvas").count() > 3
    assert "distbp train digits --hidden 32 --epochs 12" in page.inner_text("pre")
    check_access(page)
    page.shoot("light")

    plot = page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert zoomed(page) == [1, 12]
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    history = [json.loads(line) for line in (runs / "healthy" / "metrics.jsonl").read_text().splitlines()]
    epoch = int(page.locator("figure .top span").first.inner_text().split()[1])
    assert f"{history[epoch - 1]['train_cost']:.4g}" in page.locator(".legend").first.inner_text()
    page.mouse.move(box["x"] + 150, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 100, steps=4)
    page.mouse.up()
    low, high = zoomed(page)
    assert 1 < low < high < 12
    plot.focus()
    page.keyboard.press("0")
    assert zoomed(page) == [1, 12]
    assert page.evaluate("plots[1].scales.x.min") == 1  # charts of the same group zoom together
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert page.locator("[aria-live]").first.inner_text().startswith("epoch 11: train ")
    page.keyboard.press("+")
    assert zoomed(page)[1] - zoomed(page)[0] < 11
    page.locator("summary", has_text="show as table").first.click()
    page.wait_for_selector("#table-cost tbody tr")
    assert page.locator("#table-cost tbody tr").count() == 12

    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.shoot("dark")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.shoot("phone")


def test_a_vanishing_run(runs, opened):
    page = opened(write(runs, "vanishing"))
    assert "vanishing gradient" in page.locator(".box.bad").first.inner_text()
    assert "Gradient (output layer = 1)" in page.inner_text("main")
    check_access(page)
    page.shoot("light")


def test_two_runs_and_a_regression(runs, opened):
    page = opened(write(runs, "healthy", "slower"))
    rows = page.locator("section[aria-label='Different settings'] tbody tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [["lr", "0.001", "0.0002"], ["epochs", "12", "8"]]
    assert "slower test" in page.locator(".legend").first.inner_text()
    page.select_option("#run", "1")
    assert "--lr 0.0002" in page.inner_text("pre")
    check_access(page)
    page.shoot("light")
    page = opened(write(runs, "healthy", "regression"))
    assert "RMSE per epoch" in page.inner_text("main")
    page.select_option("#run", "1")
    assert "Predicted against true" in page.inner_text("main")
    check_access(page)
    page.shoot("regression")


@pytest.mark.long
@pytest.mark.ray
def test_a_run_with_three_recoveries(shared_ray, tmp_path, opened):
    callback = Kills()
    distbp.train("digits", run_dir=tmp_path / "run", workers=2, shards=2, epochs=120, callbacks=[callback])
    assert callback.left == []
    page = opened(write(tmp_path, "run"))
    section = page.locator("section[aria-label='Time use']")
    assert "recoveries and breaks (3)" in section.inner_text()
    assert section.inner_text().count("others compute its shards") == 3
    assert "worker 1 on host" in section.inner_text()
    check_access(page)
    page.shoot("light")


@pytest.mark.alone
def test_a_running_run_is_followed(tmp_path, opened):
    with nothing_left() as environment:
        run = start_program("goes_on_when_told", environment=environment, folder=tmp_path)
        try:
            metrics = tmp_path / "run" / "metrics.jsonl"
            wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") == 1, run)
            watching = start(["report", "run", "--watch", "-o", "last.html"], environment, tmp_path)
            address = watching.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            page = opened(address)
            page.wait_for_selector("text=1 of 3")
            assert page.inner_text(".badge") == "going on"
            check_access(page)
            page.click("#theme")
            (tmp_path / "go-1").touch()
            page.wait_for_selector("text=2 of 3")
            assert page.evaluate("document.documentElement.dataset.theme") == "dark"
            (tmp_path / "go-2").touch()
            (tmp_path / "go-3").touch()
            page.wait_for_selector(".badge.finished")
            page.shoot("dark")
            page.close()
            watching.send_signal(signal.SIGINT)
            out, err = ended(watching)
            assert (watching.returncode, out.strip(), err.strip()) == (0, "last.html", "Ctrl-C stops the server")
            assert (tmp_path / "last.html").stat().st_size < MOST_BYTES
            assert run.wait(HANG_SECONDS) == 0
        finally:
            run.kill()


def test_names_are_never_html(tmp_path, opened):
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 4))
    bad = "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
    np.savez(tmp_path / "a'&<b>.npz", X=x, y=np.where(x[:, 0] > 0, bad, "<!--" + bad))
    folder = tmp_path / "<img src=x onerror=document.title='owned'>"
    distbp.train(tmp_path / "a'&<b>.npz", run_dir=folder, workers=0, hidden=(4,), epochs=1)
    (folder / "timeline.jsonl").write_text(
        (folder / "timeline.jsonl").read_text().replace("finished", "failed").replace('"text": ""', f'"text": "{bad}"')
    )
    write_page(tmp_path / "page.html", page_data([folder]))
    page = opened((tmp_path / "page.html").as_uri())
    assert page.locator("img").count() == 0
    assert bad in page.inner_text("main")
    assert page.title() == f"{folder.name} · distbp report"
    assert page.evaluate("document.scripts.length") == 5


def test_thousands_of_epochs_and_a_thousand_classes(tmp_path, opened):
    x = np.repeat(np.eye(10, dtype="float32"), 120, axis=0)
    y = [f"class {k}" for k in np.arange(1200) % 1000]
    np.savez(tmp_path / "many.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    distbp.train(tmp_path / "many.npz", run_dir=tmp_path / "run", workers=0, hidden=(4,), epochs=1)
    (record,) = read_metrics(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_text(
        "".join(metrics_line(record | {"epoch": epoch}) for epoch in range(1, 5001))
    )
    lines = (tmp_path / "run" / "timeline.jsonl").read_text().splitlines()
    line = next(line for line in lines if '"epoch": 1' in line)
    more = [line.replace('"epoch": 1', f'"epoch": {epoch}') for epoch in range(2, 5001)]
    (tmp_path / "run" / "timeline.jsonl").write_text("\n".join([*lines, *more]) + "\n")
    page = opened(write(tmp_path, "run"))
    assert "Most frequent confusions of 1000 classes" in page.inner_text("main")
    assert page.evaluate("plots[0].data[0].length") <= 1200
    assert page.evaluate("plots[0].scales.x.max") == 5000

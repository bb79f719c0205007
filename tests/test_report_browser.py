"""The report page in headless Chromium: filters, narrow screens, no network, hostile answers."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lune.report import write_report
from reports import HOSTILE, PageReader, make_run_folder, probe_row, probe_rows

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))),
    None,
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser, google-chrome or chrome on the PATH"),
]

# Loads the report into a frame as wide as a small phone, works its filters as a user would, and
# leaves what it saw as JSON in the page. The picture proves that the listening server hears requests.
HARNESS = """<!DOCTYPE html><meta charset="utf-8"><body><iframe id="frame" style="width:380px;height:800px;border:0"
src="report.html"></iframe><img src="ADDRESS/control.png"><script>
const frame = document.getElementById("frame");
const pause = () => new Promise((done) => setTimeout(done, 50));
frame.addEventListener("load", async () => {
  const page = frame.contentDocument, view = frame.contentWindow, seen = {};
  const form = page.getElementById("answers-filters");
  const shown = () => Array.from(page.querySelectorAll("#answers-table tbody tr"))
    .filter((row) => row.checkVisibility()).map((row) => row.dataset.kind + "/" + row.dataset.outcome);
  const choose = async (name, value) => {
    const field = form.elements.namedItem(name);
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    await pause();
    return { rows: shown(), address: view.location.hash, told: page.getElementById("answers-shown").textContent };
  };
  seen.title = page.title;
  seen.resources = view.performance.getEntriesByType("resource").map((entry) => entry.name);
  seen.pageWidth = page.documentElement.scrollWidth;
  seen.innerWidth = view.innerWidth;
  seen.loose = Array.from(page.querySelectorAll("table")).filter((table) => {
    const box = table.closest(".box") || table;
    return box.getBoundingClientRect().right > 380.5;
  }).length;
  seen.formVisible = form.checkVisibility();
  seen.all = shown().length;
  seen.attack = await choose("attack", "role play");
  seen.attackAndFact = await choose("fact", "f2");
  form.reset();
  await pause();
  seen.reset = { count: shown().length, address: view.location.hash };
  seen.search = await choose("q", "ROME is in");
  form.reset();
  await pause();
  view.location.hash = "#filter=problems";
  await pause();
  seen.linked = shown();
  view.location.hash = "#filter=nonsense&kind=neighbour";
  await pause();
  seen.unknownFilter = shown();
  view.location.hash = "#limits";
  await pause();
  seen.sectionLink = shown();
  page.querySelectorAll("details").forEach((part) => { part.open = true; });
  seen.widthOpen = page.documentElement.scrollWidth;
  document.body.textContent = JSON.stringify(seen);
});
</script></body>"""


@pytest.fixture(scope="module")
def requested() -> Iterator[tuple[str, list[str]]]:
    """A listening server: its address, and the paths that were asked of it."""
    paths: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the terminal quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, requested: tuple[str, list[str]]) -> Path:
    """A run folder with its report; one answer of it tries to run a script and to load a picture."""
    attack = HOSTILE.replace("http://example.invalid", requested[0])
    hostile = probe_row("general", 99, before="Water is H2O", after=f"H2O {attack} {'x' * 300}", expected="H2O")
    made = make_run_folder(tmp_path_factory.mktemp("browser"), probes=[*probe_rows(), hostile])
    write_report(made)
    return made


def browse(address: str, profile: Path) -> str:
    """Return the page at ``address`` as Chromium has it after running it, with every foreign host unreachable."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=5000",
        f"--user-data-dir={profile}", "--dump-dom", address,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def seen(folder: Path, requested: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the harness saw of the page."""
    harness = folder / "harness.html"
    harness.write_text(HARNESS.replace("ADDRESS", requested[0]), encoding="utf-8")
    page = browse(harness.as_uri(), tmp_path_factory.mktemp("profile"))
    body = re.search(r"<body>(.*)</body>", page, re.DOTALL)
    assert body is not None
    told: dict[str, Any] = json.loads(html.unescape(body.group(1)))
    return told


def test_a_linked_filter_hides_all_rows_but_the_leaks(folder: Path, tmp_path: Path) -> None:
    page = PageReader(browse(f"{(folder / 'report.html').as_uri()}#filter=leaks", tmp_path))
    rows = [row for row in page.tags("tr") if "data-kind" in row]
    assert len(rows) == len(probe_rows()) + 1
    assert [row["data-outcome"] for row in rows if "hidden" not in row] == ["leak"]
    assert f"1 of {len(rows)} probes" in page.text("answers")
    assert "hidden" not in page.tags("form")[0]


def test_the_filters_combine_are_kept_in_the_address_and_are_undone(seen: dict[str, Any]) -> None:
    assert seen["formVisible"] and seen["all"] == len(probe_rows()) + 1
    assert seen["attack"]["rows"] == ["adversarial/forgotten", "adversarial/forgotten", "adversarial/silent"]
    assert seen["attackAndFact"]["rows"] == ["adversarial/forgotten"]
    assert seen["attackAndFact"]["address"] == "#attack=role+play&fact=f2"
    assert seen["attackAndFact"]["told"] == f"1 of {seen['all']} probes"
    assert seen["reset"] == {"count": seen["all"], "address": "#answers"}
    assert seen["search"]["rows"] == ["neighbour/kept", "neighbour/broken", "neighbour/kept"]


def test_an_address_sets_the_filters_unless_it_names_a_section_or_nothing_known(seen: dict[str, Any]) -> None:
    assert seen["linked"] == ["adversarial/leak", "neighbour/broken"]
    assert seen["unknownFilter"] == ["neighbour/kept", "neighbour/broken", "neighbour/kept"]
    assert seen["sectionLink"] == seen["unknownFilter"]


def test_the_page_fits_a_phone_and_wide_tables_scroll_in_their_own_box(seen: dict[str, Any]) -> None:
    assert seen["innerWidth"] == 380
    assert seen["pageWidth"] <= 380 and seen["widthOpen"] <= 380
    assert seen["loose"] == 0


def test_nothing_is_requested_and_a_hostile_answer_does_nothing(
    seen: dict[str, Any], requested: tuple[str, list[str]]
) -> None:
    assert seen["resources"] == []
    assert requested[1] == ["/control.png"]  # the harness's own picture, and nothing from the report
    assert seen["title"] == "FORGOTTEN – Unlearning report: smollm2-135m"

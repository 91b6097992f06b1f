"""04_inference as a user has it: JupyterLab in a real browser, run all, ask, read, upload."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from conftest import copy_of_project
from test_formats import document, interval, pq, result

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TOKEN = "of-this-test"
REPORT = (
    "Patient : femme, 60 ans\nPotassium\t6.8\tmmol/l\t3.5 - 5.0\n<img src=x onerror=alert(1)> Créatinine : 64 µmol/L (45 - 105)"
)


@pytest.fixture
def lab(smoke_run, tmp_path):
    """JupyterLab on a copy of notebooks/, whose 04_inference asks an adapter of three steps; yields its address."""
    shutil.copytree(smoke_run, smoke_run.with_name("browser"))
    folder = tmp_path / "project"
    path = copy_of_project(folder) / "04_inference.ipynb"
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('run: str = "demo"', 'run: str = "browser"').replace("int = 1600 ", "int = 48 ")
    nbformat.write(notebook, path)
    address = folder / "server.log"
    options = ["--no-browser", "--port=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    options += ["--ServerApp.allow_root=True"]
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8")
    page_config = folder / "config" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True)
    launcher = "@jupyterlab/launcher-extension:plugin"  # on a slow machine its tab may open in front of the notebook
    page_config.write_text(json.dumps({"disabledExtensions": {launcher: True}}), encoding="utf-8")
    places = {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTER_CONFIG_PATH": str(folder / "config")}
    with open(address, "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], stdout=log, stderr=log, cwd=folder, env=os.environ | places
        )
        try:
            for _ in range(120):
                found = re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/", address.read_text())
                if found:
                    break
                time.sleep(0.5)
            assert found, address.read_text()[-2000:]
            urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/api/status?token={TOKEN}", timeout=30).read()
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            server.terminate()
            server.wait(30)


def run_all(page, lab):
    """Open 04_inference, run all cells, and return the panel's place in the page once it is there."""
    page.goto(f"{lab}/lab/tree/notebooks/04_inference.ipynb?token={TOKEN}", timeout=90_000)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=90_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    button = page.get_by_role("button", name="Interpréter")
    button.wait_for(timeout=200_000)
    button.scroll_into_view_if_needed()
    return page.locator(".jp-OutputArea-output", has=button)


def ask(panel, report, texts):
    """Put `report` into the box, press, collect in `texts` what is shown on the way, and wait for the table of the checks."""
    panel.locator("textarea").fill(report)
    panel.get_by_role("button", name="Interpréter").click()
    table = panel.locator("table")
    for _ in range(600):
        shown = panel.locator("pre")
        texts += [shown.inner_text()] if shown.count() else []
        if table.count():
            return table.inner_text()
        time.sleep(0.1)
    raise AssertionError(panel.inner_text())


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
def test_ask_read_and_upload_in_jupyterlab(lab, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        alerts, texts = [], []
        page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
        panel = run_all(page, lab)
        assert "Pas un dispositif médical" in panel.inner_text()
        table = ask(panel, REPORT, texts)
        assert len(set(filter(None, texts))) > 2, "the answer did not come piece by piece"
        assert "contrôle" in table and "6,8 mmol/L" in table
        assert "Valeur critique : Potassium 6,8 mmol/L" in panel.inner_text(), "hidden by what the model says"
        assert not alerts and not panel.locator("img").count()
        file = tmp_path / "bilan.xml"
        file.write_bytes(document(result("Sodium", pq("118", "mmol/L"), interval("135", "145", "mmol/L"))))
        with page.expect_file_chooser() as chooser:
            panel.get_by_role("button", name="Fichier").click()
        chooser.value.set_files(file)
        page.wait_for_function("text => document.body.innerText.includes(text)", arg="Lu : bilan.xml", timeout=20_000)
        assert panel.locator("textarea").input_value() == "Patient : femme, 65 ans\nSodium : 118 mmol/L (135 - 145)"
        browser.close()

"""JupyterLab and Voilà on loopback, and Chromium to look at them: for the browser's tests and its pictures."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
PATIENCE = 300  # seconds; long enough for a slow machine
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [  # the later ones keep Chromium from contacting hosts of its own at every start
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# "Run all" clears the outputs and runs nothing if the kernel is not yet connected, even if it is shown as idle.
RUN_ALL = """async () => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.context.ready;
    await panel.context.sessionContext.ready;
    const kernel = panel.context.sessionContext.session.kernel;
    while (kernel.connectionStatus !== "connected") await new Promise((done) => setTimeout(done, 50));
    await kernel.info;
    await window.jupyterapp.commands.execute("notebook:run-all-cells");
}"""
RESTART = "() => window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()"


def short_notebook(folder: Path, **parameters) -> Path:
    """Notebook 05 with other parameters, reduced to its browser and the cells that the browser needs."""
    notebook = nbformat.read(ROOT / "notebooks" / "05_ranked_images.ipynb", 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = next(n for n, cell in enumerate(code) if "RankedBrowser(" in cell.source)
    needed = ("import reidlib", "rl.measure(system", "rl.extremes", "RankedBrowser")
    kept = [cell for cell in code[1 : last + 1] if any(word in cell.source for word in needed)]
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    notebook.cells = [code[0], nbformat.v4.new_code_cell("\n".join(lines)), *kept]
    for cell in notebook.cells:
        cell.update(outputs=[], execution_count=None)
    path = folder / "05_ranked_images.ipynb"
    nbformat.write(notebook, path)
    return path


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a user who has never started Jupyter, with this tree as the library."""
    homes = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    paths = {name: str(folder / name.lower()) for name in homes}
    for path in paths.values():
        Path(path).mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    return kept | paths | {"PYTHONPATH": str(ROOT), "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}


def settings(folder: Path, dark: bool) -> None:
    """Set the theme, and switch off the question about news."""
    theme = {"theme": "JupyterLab Dark" if dark else "JupyterLab Light"}
    for name, values in (("notification", {"fetchNews": "false"}), ("themes", theme)):
        file = folder / "settings" / "@jupyterlab" / "apputils-extension" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))


@contextlib.contextmanager
def serving(command: list[str], folder: Path) -> Iterator[str]:
    """Start a server at a free port of loopback, wait until it answers, yield its URL, and stop it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *command, f"--port={port}"]
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=surroundings(folder), stdout=log, stderr=log)
    try:
        if not _answers(server, port):
            raise RuntimeError(f"{command[2]} does not answer:\n{(folder / 'server.log').read_text()}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(server: subprocess.Popen, port: int) -> bool:
    """Whether the server answers within PATIENCE seconds; False at once if it has ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def lab(notebook: Path, dark: bool = False) -> Iterator[str]:
    """The address of a notebook in a JupyterLab of its own."""
    settings(notebook.parent, dark)
    token = secrets.token_hex(16)
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--IdentityProvider.token={token}"]
    options += ["--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={notebook.parent}"]
    with serving(["jupyterlab", *options], notebook.parent) as url:
        yield f"{url}/doc/tree/{notebook.name}?token={token}&reset"


@contextlib.contextmanager
def voila(notebook: Path, dark: bool = False) -> Iterator[str]:
    """The address of a notebook as an app."""
    options = ["--no-browser", "--Voila.ip=127.0.0.1", f"--theme={'dark' if dark else 'light'}", str(notebook)]
    with serving(["voila", *options], notebook.parent) as url:
        yield url


@contextlib.contextmanager
def chromium(width: int = 1200, height: int = 1000) -> Iterator:
    """A page of a fresh Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(1000 * PATIENCE)
        yield page
        browser.close()


def run_all(page, url: str) -> None:
    """Open a notebook in JupyterLab and run all of its cells."""
    page.goto(url, wait_until="commit")
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context")
    page.evaluate(RUN_ALL)

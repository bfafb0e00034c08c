"""pyproject.toml is the one list of packages; the lock, the conda file and the README follow it."""

import itertools
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import bare
import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from reidlib.files import WEIGHTS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [
    line.strip()
    for line in (ROOT / "requirements.lock").read_text().replace("\\\n", "").splitlines()
    if not line.startswith("#")
]
LOCK = dict(line.split()[0].split("==") for line in LINES)


def wanted():
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["notebooks"], *extras["cluster"], *extras["dev"]]
    return [Requirement(line) for line in lines if not line.startswith("reidlib")]


def test_the_lock_holds_every_package_of_pyproject_at_a_version_it_allows():
    for requirement in wanted():
        assert requirement.specifier.contains(LOCK[canonicalize_name(requirement.name)]), requirement


def test_the_lock_has_a_version_and_hashes_in_every_line_and_names_no_address_and_no_file():
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [^#@/\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", line), line


def test_the_lock_serves_this_python_and_those_after_it_on_both_processors():
    """Guards: a marker that leaves out torch, or a lock made for one machine only."""
    for version, machine in itertools.product(("3.11", "3.12", "3.13"), ("x86_64", "aarch64")):
        here = default_environment() | {"python_version": version, "python_full_version": f"{version}.1"}
        here |= {"platform_machine": machine, "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
        markers = dict(line.split(" --hash")[0].partition(" ; ")[::2] for line in LINES)
        held = {pin.split("==")[0] for pin, mark in markers.items() if not mark.strip() or Marker(mark).evaluate(here)}
        assert {canonicalize_name(requirement.name) for requirement in wanted()} <= held


def test_pip_refuses_a_file_whose_hash_is_another(tmp_path):
    """Guards: the Makefile, the README and conda install by the lock alone, and its hashes are what pip goes by."""
    wheel = tmp_path / "six-1.17.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as content:
        content.writestr("six-1.17.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: six\nVersion: 1.17.0\n")
        content.writestr("six-1.17.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n")
        content.writestr("six-1.17.0.dist-info/RECORD", "")
    (line,) = (line for line in LINES if line.startswith("six=="))
    (tmp_path / "one.lock").write_text(line)
    install = [sys.executable, "-m", "pip", "--isolated", "install", "--no-index", "--find-links", str(tmp_path)]
    install += ["--ignore-installed", "--target", str(tmp_path / "installed"), "-r", str(tmp_path / "one.lock")]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_the_shipped_models_are_all_that_is_large_in_the_repository():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository")
    large = {name for name in filter(None, listed.stdout.split("\0")) if (ROOT / name).stat().st_size > 2**20}
    assert large <= {f"reidlib/weights/{file.name}" for file in WEIGHTS.glob("*.safetensors")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return bare.wheel(tmp_path_factory.mktemp("wheel"))


def test_a_wheel_holds_the_models_their_cards_the_styles_and_the_page(wheel):
    """Guards: files that are no Python, which a list of packages leaves out."""
    listed = subprocess.run(["git", "ls-files", "-z", "reidlib"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository")
    wanted = set(filter(None, listed.stdout.split("\0")))
    assert {"reidlib/browser/browser.js", "reidlib/weights/market-laptop.safetensors"} <= wanted
    assert wanted - {"reidlib/weights/about/market.md"} <= set(zipfile.ZipFile(wheel).namelist())


def test_torch_and_torchvision_are_a_matching_pair():
    torch, vision = (tuple(map(int, LOCK[name].split("."))) for name in ("torch", "torchvision"))
    assert torch[1] + 15 == vision[1] or torch[2] == vision[2], "torchvision 0.N goes with torch 2.(N - 15)"


def test_conda_takes_python_from_conda_forge_and_all_else_from_the_lock():
    text = (ROOT / "environment.yml").read_text()
    named = re.findall(r"^ +- (.+?)(?: +#.*)?$", text, re.MULTILINE)
    assert named == ["conda-forge", "python=3.12", "make", "pip", "pip:", "-r requirements.lock"]
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_wheel_works_with_only_what_it_requires_and_each_extra_brings_its_part(wheel, tmp_path):
    """Guards: a GPU box without Jupyter. A part that needs more packages names them, and all else works."""
    python = bare.environment(tmp_path / "env", wheel)
    held, extras = bare.site(python), ("export", "groups", "timm", "cluster")
    folders = [bare.link(tmp_path / f"of-{extra}", held, extra) for extra in extras]
    said = bare.run(python, ROOT / "tests" / "core_only.py", tmp_path, *folders).splitlines()
    needs = dict(line.split(" needs ") for line in said if " needs " in line)
    pages = re.findall(r"^from \.browser\.\S+ import (\w+) as", (ROOT / "reidlib" / "__init__.pyi").read_text(), re.M)
    assert "RankedBrowser" in pages
    parts = dict.fromkeys([*pages, "reidlib.browser", "run_grid"], "notebooks")
    parts |= {"export": "export", "group": "groups", "timm": "timm"}
    assert needs.keys() == parts.keys()
    for part, extra in parts.items():
        brought = {Requirement(line).name for line in PROJECT["optional-dependencies"][extra]}
        named = set(needs[part].split())
        assert named <= brought if extra == "notebooks" else named == brought, f"{part}: pip install {needs[part]}"
    assert [line for line in said if line.startswith("rank-1")]
    assert said[-1] == "then used: export group timm run_grid"
    assert (tmp_path / "env" / "bin" / "reid").is_file()

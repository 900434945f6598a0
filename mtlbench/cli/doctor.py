"""`mtlbench doctor`: is the installation as it should be, and if not, what to do."""

from __future__ import annotations

import argparse
import configparser
import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import mtlbench
from mtlbench.cli.options import add_plugins
from mtlbench.data.cache_folder import default_cache

PACKAGES = {
    "numpy": "numpy",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "seaborn": "seaborn",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torchmetrics": "torchmetrics",
    "torchjd": "torchjd",
    "pydantic": "pydantic",
    "yaml": "PyYAML",
    "ray": "ray",
}
"""Module → the package that it comes from."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    text: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check Python, where mtlbench is imported from, the packages, torch and torchvision's match, devices, folders and "
        "plugins."
    )
    add_plugins(parser)


def run(arguments: argparse.Namespace) -> int:
    well = True
    for finding in findings(arguments.plugins):
        print(f"{'ok  ' if finding.ok else 'BAD '} {finding.text}")
        if finding.remedy:
            print(f"     {finding.remedy}")
        well &= finding.ok
    return 0 if well else 2


def findings(plugins: list[Path]) -> Iterator[Finding]:
    """Everything that is looked at, in order; later checks are left out where torch itself is broken."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding(
        sys.version_info >= (3, 10), f"Python {python}", "" if sys.version_info >= (3, 10) else "Use 3.10 or newer."
    )
    yield check_checkout(Path.cwd())
    torch_finding = check_torch()
    yield torch_finding
    for module, package in PACKAGES.items():
        yield _package(module, package)
    yield from _outdated()
    if not torch_finding.ok:
        return
    yield _devices()
    yield _cache(default_cache())
    yield from _plugins(plugins)


def check_torch() -> Finding:
    """torch and torchvision: there, and made for each other."""
    install = f"{sys.executable} -m pip install --upgrade torch torchvision   (together, so that the newest pair is taken)"
    try:
        torch = importlib.import_module("torch")
    except Exception as error:
        return Finding(False, f"torch cannot be imported: {error}", install)
    try:
        vision = importlib.import_module("torchvision")
    except Exception as error:
        return Finding(False, diagnose_torchvision(str(error), torch.__version__, _version("torchvision")), install)
    return Finding(True, f"torch {torch.__version__}, torchvision {vision.__version__}")


def diagnose_torchvision(error: str, torch_version: str, vision_version: str) -> str:
    """What a failed `import torchvision` means."""
    if "torchvision::nms" in error or "undefined symbol" in error:
        return (
            f"torchvision {vision_version} was built for another torch than {torch_version} (its operators are missing: "
            f"{error.splitlines()[0]})."
        )
    return f"torchvision cannot be imported: {error.splitlines()[0] if error else 'no reason given'}"


def check_checkout(folder: Path) -> Finding:
    """Which mtlbench is imported, and whether it is that of the folder, where the folder is a checkout of mtlbench."""
    origin = Path(mtlbench.__file__).resolve().parent.parent
    text = f"mtlbench {mtlbench.__version__}, from {origin}"
    if not _is_checkout(folder) or folder.resolve() == origin:
        return Finding(True, text)
    return Finding(
        False,
        f"{text}, while this folder is another checkout ({folder.resolve()}): changes here have no effect",
        f"{sys.executable} -m pip install --editable .   (or: make setup)",
    )


def _is_checkout(folder: Path) -> bool:
    parser = configparser.ConfigParser()
    try:
        parser.read(folder / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return False
    return parser.get("metadata", "name", fallback="") == mtlbench.__name__


def _package(module: str, package: str) -> Finding:
    try:
        imported = importlib.import_module(module)
    except Exception as error:
        return Finding(False, f"{module} cannot be imported: {error}", "make setup   (or: pip install -e .)")
    return Finding(True, f"{module} {_version(package) or getattr(imported, '__version__', '')}")


def _outdated() -> Iterator[Finding]:
    """Installed packages below the lower bounds that mtlbench names."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return
    for text in requires("mtlbench") or [] if _version("mtlbench") else []:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        installed = _version(wanted.name)
        if installed and not wanted.specifier.contains(re.sub(r"\+.*", "", installed), prereleases=True):
            yield Finding(False, f"{wanted.name} {installed}, expected {wanted.specifier}", "make setup")


def _devices() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding(True, f"GPU: {names}; {os.cpu_count()} CPU cores")
    return Finding(True, f"no GPU; {os.cpu_count()} CPU cores")


def _cache(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        return Finding(False, f"cache folder {folder}: {error.strerror}", "Name another one in MTLBENCH_CACHE.")
    free = shutil.disk_usage(folder).free / 2**30
    return Finding(free > 1, f"cache folder {folder}, {free:.0f} GiB free", "" if free > 1 else "Free some space.")


def _plugins(folders: list[Path]) -> Iterator[Finding]:
    from mtlbench.config.plugins import Registry

    registry = Registry(folders)
    for group in ("methods", "datasets"):
        plugins = registry.group(group).values()
        unavailable = [plugin for plugin in plugins if plugin.lacks_package]
        broken = [plugin for plugin in plugins if plugin.broken and not plugin.lacks_package]
        usable = len(plugins) - len(unavailable) - len(broken)
        yield Finding(not broken, f"{usable} {group}" + (f", and {len(broken)} broken" if broken else ""))
        for plugin in broken:
            yield Finding(False, f"{plugin.name} is broken: {plugin.broken}", f"in {plugin.path}")
        for plugin in unavailable:
            yield Finding(True, f"{plugin.name} is unavailable: {plugin.broken}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

"""The metadata stands in pyproject.toml: this only refuses to make a package that lacks the generated code."""

from pathlib import Path

from setuptools import setup

if not (Path(__file__).parent / "src/sluice/v1/stubs.py").exists():
    raise SystemExit("src/sluice/v1 is generated from the repository's proto files: run `make generate` first")

setup()

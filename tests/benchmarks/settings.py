"""Florin's settings, plus the one address that Florin is measured against."""

from __future__ import annotations

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.benchmarks.bare_view"

"""An overlay that cannot be had is one clear line."""

from __future__ import annotations

import os

import pytest

from tests.servers.overlay import Overlay, UnavailableError


def test_without_root_there_is_no_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(UnavailableError, match="needs root"):
        Overlay("cyrus").__enter__()

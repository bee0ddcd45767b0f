"""An overlay that cannot be had is one clear line."""

from __future__ import annotations

import os

import pytest

from tests.servers.overlay import Overlay, UnavailableError


def test_without_root_there_is_no_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(UnavailableError, match="needs root"):
        Overlay("cyrus").__enter__()


@pytest.mark.foreign
@pytest.mark.usefixtures("foreign")  # which can be had otherwise
def test_without_a_registry_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # discard: nobody listens

    with pytest.raises(UnavailableError, match=r"^apt-get cannot install courier-imap \(E: .+\)$"):
        Overlay("courier").__enter__()

"""No adapter without its contract tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lettertrail import esps


@pytest.mark.parametrize("name", esps.names())
def test_every_adapter_has_its_contract_tests(name: str) -> None:
    """An adapter that nobody holds to the contract is no adapter."""
    module = Path(__file__).with_name(f"test_{name}_contract.py")
    assert module.exists(), f"write {module.name}: a subclass of EspContract with a sandbox twin"
    assert "EspContract" in module.read_text(encoding="utf-8")

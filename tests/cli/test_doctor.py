"""The doctor says what is well, what is not, and what to do."""

from argparse import Namespace

from cli import doctor
from stabledreamer_core.errors import UserError


def test_a_problem_is_told_and_the_rest_still_checked(monkeypatch, capsys):
    def missing() -> str:
        raise UserError("the prior is missing;\nrestore it")

    def broken() -> str:
        raise ImportError("no module")

    checks = {"first": lambda: "fine", "second": missing, "third": broken, "last": lambda: "fine"}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.run(Namespace()) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["ok", "PROBLEM", "PROBLEM", "ok"]
    assert "restore it" in lines[1]


def test_what_needs_no_priors_is_well_here(monkeypatch, capsys):
    checks = {name: check for name, check in doctor.CHECKS.items() if name != "priors"}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.run(Namespace()) == 0, capsys.readouterr().out


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    try:
        doctor._torch()
    except UserError as error:
        assert "NVIDIA" in str(error)
    else:
        raise AssertionError("the doctor saw nothing")

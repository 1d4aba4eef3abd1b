"""What the study asks of the machine it runs on."""

from __future__ import annotations

import torch


def device() -> torch.device:
    """The graphics processor where PyTorch finds one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

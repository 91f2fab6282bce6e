"""StableDreamer: score distillation as a supervised L2 loss on 3D Gaussians (arXiv 2312.02189).

Start at `distillation/loss.py`, `distillation/annealing.py` (the noise level over time) and
`optimization/loop.py` (the loop both stages run).
"""

__version__ = "0.1.0"

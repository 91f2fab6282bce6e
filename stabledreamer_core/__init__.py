"""StableDreamer: score distillation as a supervised L2 loss on 3D Gaussians (arXiv 2312.02189).

    import stabledreamer_core as sd

Start reading at `distillation/loss.py`, `distillation/annealing.py` (the noise level over time) and
`optimization/loop.py` (the loop both stages run); `examples/minimal.py` is the method on a page.
`__init__.pyi` lists the public names; each is imported when it is first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

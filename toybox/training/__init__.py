"""How the bundled priors are trained: `python -m toybox.training pixel|vae|latent|judge|samples`.

Start at `loop.py` (the loop all four share), then `pixel.py`, `vae.py`, `latent.py` and
`judging.py` (what each one learns). Nothing here needs Prefect; `flows/priors.py` wraps it.
"""

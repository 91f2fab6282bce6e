"""How the bundled priors are trained: `python -m toybox.training PART` (see `--help`).

Start at `loop.py` (the loop all five share), then `pixel.py`, `flow.py`, `vae.py`, `latent.py` and
`judging.py` (what each one learns). Nothing here needs Prefect; `flows/priors.py` wraps it.
"""

"""Priors: image diffusion models that tell a render how it should look.

`load_prior` opens a diffusers pipeline, a local folder or a hub id, as a `Prior`; the bundled
Toybox priors and those of all families (families/) pass through the same code.
"""

from stabledreamer_core.priors.identity import prior_hash, write_manifest
from stabledreamer_core.priors.prior import Prior, load_prior

__all__ = ["Prior", "load_prior", "prior_hash", "write_manifest"]

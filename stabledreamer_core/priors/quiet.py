"""Silence diffusers and transformers.

Loading a pipeline without its safety checker, or a configuration with a newer key, prints
paragraphs and progress bars; what a user must know is raised as a UserError.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Let both libraries log errors only, without progress bars; restore that on leaving."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for library, (verbosity, progress_bar) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if progress_bar:
                library.enable_progress_bar()

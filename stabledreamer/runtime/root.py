"""Where this repository lies, and its settings."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"
QUICK = ROOT / "params" / "quick.yaml"
EMBEDDINGS = ROOT / ".cache" / "embeddings"  # a text encoder of 11 GB is not loaded twice

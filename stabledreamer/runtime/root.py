"""Where this repository lies, and its settings."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"
PRESETS = ROOT / "params"
QUICK = PRESETS / "quick.yaml"
EMBEDDINGS = ROOT / ".cache" / "embeddings"  # a text encoder of 11 GB is not loaded twice

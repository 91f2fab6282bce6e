"""View-dependent prompts: which words name the direction a camera looks from.

DreamFusion (Poole et al. 2022, section 3.2) appends "front view", "side view", "back view" or
"overhead view". "Side" does not say which side, so priors that know more take eight directions.
"""

FINE_WORDS = (
    "front view",
    "front left view",
    "left side view",
    "back left view",
    "back view",
    "back right view",
    "right side view",
    "front right view",
)
COARSE_WORDS = ("front view", "side view", "back view")
OVERHEAD = "overhead view"
OVERHEAD_DEG = 60.0

VOCABULARIES: dict[str, tuple[str, ...]] = {
    "none": ("",),
    "four": (*COARSE_WORDS, OVERHEAD),
    "eight": (*FINE_WORDS, OVERHEAD),
}


def view_words(azimuth_deg: float, elevation_deg: float, vocabulary: str) -> str:
    """Return the view words for one camera.

    Args:
        azimuth_deg: 0 in front, 90 at the object's own left (+Y); any real number.
        elevation_deg: at or above `OVERHEAD_DEG` the view is overhead.
        vocabulary: a key of `VOCABULARIES`.
    """
    if vocabulary == "none":
        return ""
    if elevation_deg >= OVERHEAD_DEG:
        return OVERHEAD
    eighth = fine_bin(azimuth_deg)
    if vocabulary == "eight":
        return FINE_WORDS[eighth]
    quarter = round(azimuth_deg / 90.0) % 4
    return COARSE_WORDS[(0, 1, 2, 1)[quarter]]


def fine_bin(azimuth_deg: float) -> int:
    """Return the index of the 45-degree arc, centred on 0, 45, ..., that holds this azimuth."""
    return int((azimuth_deg + 22.5) // 45.0) % 8


def view_prompts(prompt: str, vocabulary: str) -> list[str]:
    """Append each of the vocabulary's words to the prompt, in the vocabulary's order."""
    return [f"{prompt}, {words}" if words else prompt for words in VOCABULARIES[vocabulary]]


def view_index(azimuth_deg: float, elevation_deg: float, vocabulary: str) -> int:
    """Return one camera's index into `view_prompts(prompt, vocabulary)`."""
    return VOCABULARIES[vocabulary].index(view_words(azimuth_deg, elevation_deg, vocabulary))

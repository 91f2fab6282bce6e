"""The metrics' best values."""

WANTED = {  # the value that a perfect asset has; figures that are not here are not judged
    **dict.fromkeys(("category", "colour", "accessory", "accessory_colour", "view"), 1.0),
    **dict.fromkeys(("view_exact", "r_precision", "f_score", "normal_consistency"), 1.0),
    **dict.fromkeys(("volume_ratio", "detail", "prior_view", "prior_agreement"), 1.0),
    **dict.fromkeys(("clip_score", "clip_r_precision"), 1.0),
    **{"frontal": 0.125, "prior_fronts": 0.375},
    **dict.fromkeys(("chamfer", "multi_face", "prior_multi_face", "colour_error"), 0.0),
}
PAST_BEST = {"volume_ratio", "detail", "frontal", "prior_fronts"}  # can be too high and too low


def direction(name: str) -> str:
    """Where better is, for people: "↑", "↓", "→ 1" for a value to be met, or nothing."""
    if name not in WANTED:
        return ""
    if name in PAST_BEST:
        return f"→ {WANTED[name]:g}"
    return "↑" if WANTED[name] else "↓"

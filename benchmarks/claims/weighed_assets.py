"""make_assets for recipes that weigh views by what the judge says (`view_bias.reweight`).

    python -m benchmarks.claims.weighed_assets RECIPES.yaml --out OUT

It is a program of its own so that no other asset depends on the judge.
"""

from benchmarks.search.make_assets import argument_parser, make
from toybox.judge_views import stage_classifier

if __name__ == "__main__":
    parser = argument_parser(__doc__)
    parser.set_defaults(classifier=stage_classifier)
    make(parser.parse_args())

"""stabledreamer priors: know, download, look at and prepare image diffusion models."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from stabledreamer.cli.priors_check import check
from stabledreamer.cli.priors_embed import embed
from stabledreamer.cli.priors_fetch import fetch
from stabledreamer.cli.program import command
from stabledreamer_core.errors import UserError

if TYPE_CHECKING:  # the package imports torch: seconds that --help need not wait
    from stabledreamer_core.priors.catalogue import Known

EXAMPLES = """\
examples:
  stabledreamer priors list
  stabledreamer priors fetch sd21
  stabledreamer priors check sd21 "a dslr photo of a corgi wearing a top hat"
  stabledreamer priors check priors/toybox-if "a red bear"
  stabledreamer priors embed if-m "a delicious hamburger" --out burger.safetensors
"""
app = App(name="priors", help_epilogue=EXAMPLES, help="Know, download and look at the priors.")
app.command(fetch)
app.command(check)
app.command(embed)


@app.command(name="list")
def list_priors(
    name: str | None = None, /, *, as_json: Annotated[bool, Parameter(name="--json")] = False
) -> int:
    """List the known models: licence, size on disk, GPU memory, what each suits.

    Args:
        name: say all about this one.
        as_json: print it for programs.
    """
    from stabledreamer_core.priors.catalogue import KNOWN, find_known, unknown_name

    if name is not None and find_known(name) is None:
        raise unknown_name(name)
    chosen = [known for known in KNOWN if name in (None, known.name, known.source)]
    if as_json:
        print(json.dumps([asdict(known) | {"gpu_gb": known.gpu_gb} for known in chosen], indent=2))
    elif name is not None:
        print("\n".join(_details(chosen[0])))
    else:
        print("\n".join(_table(chosen)))
    return 0


def _table(chosen: "list[Known]") -> list[str]:
    """Two lines a model, at most 80 columns wide."""
    lines = [f"{'name':13s} {'disk':>5s}  {'GPU':>5s}  {'side':>4s}  {'':5s}  suits"]
    for known in chosen:
        here, gated = "*" if _is_here(known) else "", "gated" if known.gated else ""
        facts = f"{known.disk_gb:2.0f} GB  {known.gpu_gb:2.0f} GB  {known.side:4d}  {gated:5s}"
        lines.append(f"{known.name + here:13s} {facts}  {known.suits}")
        lines.append(f"    {known.source}, {known.licence}")
    lines += [
        "",
        "* downloaded.  disk: to download.  GPU: for one view at a time, with the text",
        "encoder on the CPU; an estimate.  gated: its licence has to be accepted on the",
        "model's page.  Bundled besides, of toys: priors/toybox-if, -flow and -sd.",
        f"More about one: {command('priors', 'list', 'NAME')}",
    ]
    return lines


def _details(known: "Known") -> list[str]:
    from stabledreamer_core.priors.catalogue import HUB_PAGE

    revision = known.revision or "not pinned: the newest is taken, and its commit is recorded"
    gate = "; accept it on that page, then run `hf auth login`" if known.gated else ""
    lines = {
        "model": HUB_PAGE + known.source,
        "revision": revision,
        "pipeline": known.kind,
        "licence": known.licence + gate,
        "suits": known.suits,
        "pictures": f"{known.side} x {known.side} pixels",
        "disk": f"{known.disk_gb:.1f} GB" + (", downloaded" if _is_here(known) else ""),
        "GPU": (
            f"about {known.gpu_gb:.0f} GB for one view at a time; the network {known.denoiser_gb}"
            f" GB, the text encoder {known.text_gb} GB (on the CPU where it does not fit)"
        ),
        "settings": ", ".join(
            f"{name} {value}"
            for name, value in (("variant", known.variant), ("dtype", known.dtype))
            if value not in (None, "auto")
        ),
        "download": command("priors", "fetch", known.name),
        "look at it": command("priors", "check", known.name),
    }
    return [f"{name:11s} {value}" for name, value in lines.items()]


def _is_here(known: "Known") -> bool:
    """Whether all that loading reads is in the hub's cache."""
    from stabledreamer_core.priors.source import complete_folder

    try:
        return complete_folder(known.source, known.revision, known.variant) is not None
    except UserError:
        return False

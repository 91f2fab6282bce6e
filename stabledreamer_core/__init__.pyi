"""Public names and where they live; __init__.py imports each when it is first used."""

from .assets.mesh.extract import write_mesh as write_mesh
from .assets.splats.ply import load_ply as load_ply
from .assets.splats.ply import save_ply as save_ply
from .assets.turntable import write_preview as write_preview
from .assets.turntable import write_turntable as write_turntable
from .debugger.draw import write_steps as write_steps
from .debugger.files import read_records as read_records
from .debugger.record import recorder as recorder
from .distillation.annealing import sample_timesteps as sample_timesteps
from .distillation.annealing import timestep_range as timestep_range
from .distillation.denoise import multi_step as multi_step
from .distillation.denoise import sample as sample
from .distillation.loss import add_noise as add_noise
from .distillation.loss import guided_eps as guided_eps
from .distillation.loss import l2_loss as l2_loss
from .distillation.loss import l2_weight as l2_weight
from .distillation.loss import limit_x0 as limit_x0
from .distillation.loss import one_step_denoised as one_step_denoised
from .distillation.view_prompts import view_index as view_index
from .distillation.view_prompts import view_prompts as view_prompts
from .errors import UserError as UserError
from .optimization.checkpoint import load_checkpoint as load_checkpoint
from .optimization.checkpoint import save_checkpoint as save_checkpoint
from .optimization.observe import Progress as Progress
from .optimization.stage import StageResult as StageResult
from .optimization.stage import initial_scene as initial_scene
from .optimization.stage import run_stage as run_stage
from .optimization.stage import run_stages as run_stages
from .priors import Prior as Prior
from .priors import load_prior as load_prior
from .rasterize import rasterization as rasterization
from .scene.cameras import Views as Views
from .scene.cameras import around as around
from .scene.cameras import orbit as orbit
from .scene.cameras import sample_orbit as sample_orbit
from .scene.gaussians import Splats as Splats
from .scene.gaussians import activate as activate
from .scene.gaussians import init_ball as init_ball
from .scene.regularizers import regularization as regularization
from .scene.rendering import render_chunks as render_chunks
from .settings.config import Config as Config
from .settings.config import Stage as Stage
from .settings.config import load_config as load_config
from .settings.config import with_overrides as with_overrides

__version__: str

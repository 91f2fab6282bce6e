"""Tiny pipelines of the real classes with random weights, one for each family."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.conftest import LETTERS, build_if, build_sd


def clip(projection: bool):
    """A CLIP text encoder of width 16, with a projection of its pooled vector to 16 or without."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    config = CLIPTextConfig(
        vocab_size=55, hidden_size=16, intermediate_size=32, projection_dim=16,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=77, hidden_act="gelu",
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return kind(config)


def t5(width: int):
    """T5's encoder with the tokenizer of `build_if`."""
    from transformers import T5Config, T5EncoderModel

    tokenizer = build_if().tokenizer
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False,
    )  # fmt: skip
    return tokenizer, T5EncoderModel(config)


def vae(levels: int, **settings):
    """A KL autoencoder that makes latents of 4 channels, 2^(levels - 1) times smaller."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=32, block_out_channels=(8,) * levels, layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, norm_num_groups=4, **settings,
    )  # fmt: skip


def build_sd3():
    """Stable Diffusion 3.5's conditioning; 32 x 32 pixels."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )

    torch.manual_seed(2)
    tokenizer, (tokenizer_3, text_encoder_3) = build_sd().tokenizer, t5(32)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2,
        attention_head_dim=8, num_attention_heads=2, joint_attention_dim=32,
        caption_projection_dim=16, pooled_projection_dim=32, pos_embed_max_size=16,
        dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(3, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=clip(True),
        tokenizer=tokenizer,
        text_encoder_2=clip(True),
        tokenizer_2=tokenizer,
        text_encoder_3=text_encoder_3,
        tokenizer_3=tokenizer_3,
    )


def build_sdxl():
    """Stable Diffusion XL's conditioning; 64 x 64 pixels."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    torch.manual_seed(3)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, attention_head_dim=[2, 4],
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32,
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64,
    )  # fmt: skip
    tokenizer = build_sd().tokenizer
    return StableDiffusionXLPipeline(
        vae=vae(4, scaling_factor=0.13025, force_upcast=True),
        text_encoder=clip(False),
        text_encoder_2=clip(True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ),
        add_watermarker=False,
    )


def build_pixart():
    """PixArt-Sigma's conditioning and learned variance; 32 x 32 pixels."""
    from diffusers import (
        DPMSolverMultistepScheduler,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    torch.manual_seed(4)
    tokenizer, text_encoder = t5(16)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2,
        cross_attention_dim=16, sample_size=8, patch_size=2, caption_channels=16,
    )  # fmt: skip
    return PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae(3, scaling_factor=0.13025),
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    )


def bpe(kind):
    """A tokenizer of letters, of a transformers class that takes a vocabulary and merges."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<|endoftext|>", "▁", "Ġ", ",", ":", *LETTERS]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return kind(vocab=vocabulary, merges=[], model_max_length=64)


def build_sana():
    """Sana's conditioning and kind of autoencoder; 32 x 32 pixels."""
    from diffusers import (
        AutoencoderDC,
        DPMSolverMultistepScheduler,
        SanaPipeline,
        SanaTransformer2DModel,
    )
    from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

    torch.manual_seed(5)
    config = Gemma2Config(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8, attn_implementation="eager",
    )  # fmt: skip
    text_encoder = Gemma2Model(config)
    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2,
        attention_head_dim=4, num_cross_attention_heads=2, cross_attention_head_dim=4,
        cross_attention_dim=8, caption_channels=16, sample_size=16,
    )  # fmt: skip
    autoencoder = AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1),
        downsample_block_type="conv", upsample_block_type="interpolate",
        decoder_norm_types="rms_norm", decoder_act_fns="silu", scaling_factor=0.41407,
    )  # fmt: skip
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return SanaPipeline(
        tokenizer=bpe(GemmaTokenizer),
        text_encoder=text_encoder,
        vae=autoencoder,
        transformer=transformer,
        scheduler=scheduler,
    )


def build_klein():
    """FLUX.2 klein base's conditioning and latents; a size of its own has to be named."""
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )
    from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(6)
    tokenizer = bpe(Qwen2Tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
    config = Qwen3Config(
        vocab_size=64, hidden_size=8, intermediate_size=16, num_hidden_layers=27,
        num_attention_heads=2, num_key_value_heads=2, head_dim=4,
    )  # fmt: skip
    text_encoder = Qwen3ForCausalLM(config)
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=24, timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    autoencoder = AutoencoderKLFlux2(
        sample_size=32, block_out_channels=(8, 8), layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )  # fmt: skip
    autoencoder.bn.running_mean.normal_()
    autoencoder.bn.running_var.uniform_(0.2, 3.0)
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=transformer,
    )


def prx_transformer(channels: int, width: int):
    """PRX's transformer on 4 x 4 patches' worth of `channels`."""
    from diffusers import PRXTransformer2DModel

    return PRXTransformer2DModel(
        in_channels=channels, patch_size=2, context_in_dim=width, hidden_size=16, mlp_ratio=2.0,
        num_heads=2, depth=2, axes_dim=[4, 4],
    )  # fmt: skip


def build_prx():
    """PRX with its T5Gemma; 32 x 32 pixels. `text_config` is what its text encoder's file says."""
    from diffusers import FlowMatchEulerDiscreteScheduler, PRXPipeline
    from diffusers.pipelines.prx import T5GemmaEncoder
    from transformers import GemmaTokenizer, T5GemmaConfig, T5GemmaModuleConfig

    torch.manual_seed(7)
    width = {
        "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
    }  # fmt: skip
    config = T5GemmaConfig(
        encoder=T5GemmaModuleConfig(**width), decoder=T5GemmaModuleConfig(**width),
        is_encoder_decoder=False, attn_implementation="eager",
    )  # fmt: skip
    pipeline = PRXPipeline(
        transformer=prx_transformer(4, 16),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=T5GemmaEncoder(config.encoder),
        tokenizer=bpe(GemmaTokenizer),
        vae=vae(3, scaling_factor=0.3611, shift_factor=0.1159),
        default_sample_size=32,
    )
    pipeline.text_config = config
    return pipeline


def build_prx_pixel():
    """PRXPixel with its Qwen; 16 x 16 pixels."""
    from diffusers import FlowMatchEulerDiscreteScheduler, PRXPixelPipeline
    from transformers import Qwen2Tokenizer
    from transformers.models.qwen3_vl import Qwen3VLTextConfig, Qwen3VLTextModel

    torch.manual_seed(8)
    config = Qwen3VLTextConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    text_encoder = Qwen3VLTextModel(config)
    return PRXPixelPipeline(
        transformer=prx_transformer(3, 16),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=text_encoder,
        tokenizer=bpe(Qwen2Tokenizer),
        default_sample_size=16,
        prompt_max_tokens=32,
    )


def build_ddim_if():
    """`build_if` with a scheduler that leaves the variance that it learned alone."""
    from diffusers import DDPMScheduler

    pipeline = build_if()
    pipeline.register_modules(scheduler=DDPMScheduler(
        beta_schedule="squaredcos_cap_v2", variance_type="fixed_small", clip_sample=False,
    ))  # fmt: skip
    return pipeline


def build_ddim_sd():
    """`build_sd` with a scheduler that steps without memory."""
    from diffusers import DDIMScheduler

    pipeline = build_sd()
    pipeline.register_modules(scheduler=DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
    ))  # fmt: skip
    return pipeline


BUILDERS: dict[str, Callable[[], Any]] = {
    "IFPipeline": build_ddim_if,
    "StableDiffusionPipeline": build_ddim_sd,
    "StableDiffusion3Pipeline": build_sd3,
    "StableDiffusionXLPipeline": build_sdxl,
    "PixArtSigmaPipeline": build_pixart,
    "SanaPipeline": build_sana,
    "Flux2KleinPipeline": build_klein,
    "PRXPipeline": build_prx,
    "PRXPixelPipeline": build_prx_pixel,
}


def save(name: str, folder: Path) -> Any:
    """Save the tiny pipeline of a class as published ones are, and return it as read from there."""
    pipeline = BUILDERS[name]()
    pipeline.save_pretrained(folder)
    if name == "PRXPipeline":
        edit(folder / "model_index.json", text_encoder=["prx", "T5GemmaEncoder"])
        pipeline.text_config.save_pretrained(folder / "text_encoder")
    pipeline = type(pipeline).from_pretrained(folder)
    if name == "Flux2KleinPipeline":
        edit(folder / "model_index.json", default_sample_size=32)
    return pipeline


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))

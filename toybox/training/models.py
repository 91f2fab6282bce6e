"""The networks: the real classes of diffusers and transformers, small."""

from typing import Any

from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    PRXTransformer2DModel,
    UNet2DConditionModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3VLTextConfig,
    Qwen3VLTextModel,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from toybox.training.settings import Flow, Latent, Pixel, Text, Vae
from toybox.training.vocabulary import MAX_TOKENS


def pixel_unet(settings: Pixel) -> UNet2DConditionModel:
    """A U-Net of DeepFloyd IF's blocks: 3 channels in, noise and variance (6) out."""
    levels, attending = len(settings.channels), settings.attention_levels
    down = ["ResnetDownsampleBlock2D"] * (levels - attending)
    up = ["SimpleCrossAttnUpBlock2D"] * attending
    return UNet2DConditionModel(
        sample_size=settings.resolution,
        in_channels=3,
        out_channels=6,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers_per_block,
        down_block_types=(*down, *["SimpleCrossAttnDownBlock2D"] * attending),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=(*up, *["ResnetUpsampleBlock2D"] * (levels - attending)),
        act_fn="gelu",
        addition_embed_type="text",
        addition_embed_type_num_heads=settings.text.heads,
        attention_head_dim=settings.head_dim,
        cross_attention_dim=settings.text.width,
        cross_attention_norm="group_norm",
        encoder_hid_dim=settings.text.width,
        encoder_hid_dim_type="text_proj",
        norm_num_groups=settings.norm_groups,
        resnet_skip_time_act=True,
        resnet_time_scale_shift="scale_shift",
        time_embedding_act_fn="gelu",
    )


def pixel_scheduler() -> DDPMScheduler:
    """IF's noise schedule: a cosine, variances learnt between beta_t and the posterior's."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range",
        prediction_type="epsilon",
        clip_sample=True,
    )


def t5_encoder(settings: Text, tokenizer: T5Tokenizer) -> T5EncoderModel:
    """A small T5 encoder."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=settings.width,
            d_kv=settings.width // settings.heads,
            d_ff=settings.feed_forward,
            num_layers=settings.layers,
            num_heads=settings.heads,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def flow_transformer(settings: Flow) -> Any:
    """PRX's transformer over patches of pixels: 3 channels in, x0 out.

    Its last layer starts at zero, as the gates of its blocks do.
    """
    head_dim = settings.width // settings.heads
    transformer: Any = PRXTransformer2DModel(
        in_channels=3,
        patch_size=settings.patch,
        context_in_dim=settings.text.width,
        hidden_size=settings.width,
        mlp_ratio=settings.mlp_ratio,
        num_heads=settings.heads,
        depth=settings.depth,
        axes_dim=[head_dim // 2, head_dim // 2],
    )
    for parameter in transformer.final_layer.linear.parameters():
        nn.init.zeros_(parameter)
    return transformer


def flow_scheduler(settings: Flow) -> FlowMatchEulerDiscreteScheduler:
    """PRX's rectified flow, its steps shifted towards noise."""
    return FlowMatchEulerDiscreteScheduler(shift=settings.shift)


def qwen_encoder(settings: Text, tokenizer: Qwen2Tokenizer) -> Qwen3VLTextModel:
    """A small Qwen text model; its attention is written out, so that padding makes no NaN.

    It is told of no padding token: that is also the end of every text, and has to be learnt.
    """
    kind: Any = Qwen3VLTextConfig  # its checked signature leaves out what every config takes
    config = kind(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        head_dim=settings.width // settings.heads,
        max_position_embeddings=MAX_TOKENS,
        use_cache=False,
        attn_implementation="eager",
    )
    return Qwen3VLTextModel(config)


def clip_encoder(settings: Text, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A small CLIP text encoder."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.width,
            intermediate_size=settings.feed_forward,
            projection_dim=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=MAX_TOKENS,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def latent_unet(settings: Latent, vae: Any) -> UNet2DConditionModel:
    """A U-Net of Stable Diffusion's blocks over the autoencoder's latents."""
    levels, attending = len(settings.channels), settings.attention_levels
    plain_down = ["DownBlock2D"] * (levels - attending)
    plain_up = ["UpBlock2D"] * (levels - attending)
    factor = 2 ** (len(vae.config["block_out_channels"]) - 1)
    return UNet2DConditionModel(
        sample_size=settings.resolution // factor,
        in_channels=vae.config["latent_channels"],
        out_channels=vae.config["latent_channels"],
        block_out_channels=settings.channels,
        layers_per_block=settings.layers_per_block,
        down_block_types=(*plain_down, *["CrossAttnDownBlock2D"] * attending),
        up_block_types=(*["CrossAttnUpBlock2D"] * attending, *plain_up),
        attention_head_dim=settings.heads,  # in Stable Diffusion's configs: heads, not channels
        cross_attention_dim=settings.text.width,
        norm_num_groups=settings.norm_groups,
    )


def latent_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def autoencoder(settings: Vae) -> AutoencoderKL:
    """A small KL autoencoder; its scaling_factor is set after training, from measured latents."""
    levels = len(settings.channels)
    return AutoencoderKL(
        sample_size=settings.resolution,
        block_out_channels=settings.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=settings.layers_per_block,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_groups,
        mid_block_add_attention=settings.attention,
        scaling_factor=1.0,
    )

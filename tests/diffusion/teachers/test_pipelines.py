"""Pipelines of diffusers become denoisers: our rules make from them what their own schedulers make."""

import pytest
import torch

from workbench import records
from workbench.diffusion import (
    VE,
    NetworkDenoiser,
    RectifiedFlow,
    VPLinear,
    denoiser,
    distill,
    sample,
    target_trajectories,
)
from workbench.diffusion.methods.tdd import TDD
from workbench.diffusion.sampling import schedules
from workbench.diffusion.sampling.tabulated import Tabulated
from workbench.diffusion.teachers.pipelines import decode, from_diffusers, times
from workbench.models import lora

DOUBLE = torch.float64


def table(steps=50):
    beta = torch.linspace(1e-3, 0.2, steps, dtype=DOUBLE)
    return Tabulated(tuple((1 - beta).cumprod(0).tolist()))


@pytest.mark.parametrize("schedule", [table(), Tabulated((0.3,))], ids=["50", "1"])
def test_a_table_is_a_schedule(schedule):
    steps = len(schedule.alphas)
    knots = torch.arange(1, steps + 1, dtype=DOUBLE) / steps
    torch.testing.assert_close(schedule.alpha(knots).square(), torch.tensor(schedule.alphas, dtype=DOUBLE))
    assert float(schedule.alpha(torch.tensor(0.0))) == 1
    assert float(schedule.sigma(torch.tensor(0.0))) == 0
    t = torch.linspace(0.003, 1, 333, dtype=DOUBLE)
    torch.testing.assert_close(schedule.alpha(t).square() + schedule.sigma(t).square(), torch.ones_like(t))
    assert bool((schedule.log_snr(t).diff() < 0).all()) or steps == 1
    if steps > 1:
        torch.testing.assert_close(schedule.time(schedule.log_snr(t)), t, atol=1e-10, rtol=1e-10)
    h = 1e-7
    inside = t[(t % (1 / steps) > 2 * h) & (t % (1 / steps) < 1 / steps - 2 * h) & (t < 1)]
    for value, rate in ((schedule.alpha, schedule.alpha_rate), (schedule.sigma, schedule.sigma_rate)):
        torch.testing.assert_close(
            (value(inside + h) - value(inside - h)) / (2 * h), rate(inside), atol=1e-5, rtol=1e-5
        )
    assert schedules.schedule(schedule.spec) == schedule
    assert "steps" in repr(schedule)
    with pytest.raises(ValueError, match="alphas has 2 entries; they must fall"):
        Tabulated((0.5, 0.9))


def test_a_fine_table_is_the_schedule_it_was_taken_from():
    k = torch.arange(1, 1001, dtype=DOUBLE) / 1000
    fine = Tabulated(tuple(VPLinear().alpha(k).square().tolist()))
    t = torch.linspace(0.05, 1, 57, dtype=DOUBLE)
    torch.testing.assert_close(fine.alpha(t), VPLinear().alpha(t), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(fine.sigma_rate(t[:-1]), VPLinear().sigma_rate(t[:-1]), atol=0.02, rtol=0.02)


diffusers = pytest.importorskip("diffusers")


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return make().eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def unet():
    return seeded(
        lambda: diffusers.UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4, attention_head_dim=4,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def transformer():
    return seeded(
        lambda: diffusers.DiTTransformer2DModel(
            num_attention_heads=2, attention_head_dim=4, in_channels=2, out_channels=4, num_layers=1, patch_size=2,
            sample_size=4, num_embeds_ada_norm=5, norm_num_groups=1,
        )
    )  # fmt: skip


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def theirs(network, scheduler, noise, steps, **extra):
    """The loop of every pipeline of diffusers."""
    scheduler.set_timesteps(steps)
    x, targets = noise * scheduler.init_noise_sigma, []
    with torch.no_grad():
        for t in scheduler.timesteps:
            out = network(scheduler.scale_model_input(x, t), t, **extra).sample
            result = scheduler.step(out, t, x)
            targets.append(getattr(result, "pred_original_sample", None))
            x = result.prev_sample
    return x, targets


PLAIN = {"timestep_spacing": "trailing"}


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_ddim_here_is_ddim_there(unet, kind):
    """Samples and, at every step, targets: card 096 reads `pred_original_sample`.

    Where the number of steps divides theirs, that is: else their DDIM does not step to the time it visits next.
    """
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False, **PLAIN)
    model = from_diffusers(diffusers.DDIMPipeline(unet, scheduler))
    noise = normal(3, 1, 8, 8)
    expected, targets = theirs(unet, scheduler, noise, 8)
    grid = times(scheduler, 8)
    # They begin with noise of unit size, we with σ of the first time.
    run = target_trajectories(model, noise / model.schedule.sigma(grid[0]).float(), steps=grid)
    scale = float(expected.abs().max())
    torch.testing.assert_close(run.samples, expected, atol=1e-4 * scale, rtol=1e-4)
    for mine, other in zip(run.targets, targets, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-4 * float(other.abs().max()), rtol=2e-4)


@pytest.mark.parametrize(
    ("name", "sampler"),
    [("EulerDiscreteScheduler", "ddim"), ("DPMSolverMultistepScheduler", "dpm-solver++")],
)
def test_their_euler_is_our_ddim_and_their_2m_ours(unet, name, sampler):
    options = PLAIN | ({"final_sigmas_type": "zero"} if "DPM" in name else {})
    scheduler = getattr(diffusers, name)(**options)
    model = from_diffusers(unet, scheduler)
    noise = normal(2, 1, 8, 8)
    expected, _ = theirs(unet, scheduler, noise, 7)
    grid = times(scheduler, 7)
    first = model.schedule.alpha(grid[0]).float() if name.startswith("Euler") else 1.0
    start = noise * scheduler.init_noise_sigma * first / model.schedule.sigma(grid[0]).float()
    out = sample(model, start, sampler=sampler, steps=grid)
    torch.testing.assert_close(out, expected, atol=2e-4 * float(expected.abs().max()), rtol=1e-3)


def test_flow_matching_is_rectified_flow(unet):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=2.0)
    model = from_diffusers(unet, scheduler)
    assert isinstance(model.schedule, RectifiedFlow)
    noise = normal(2, 1, 8, 8)
    scheduler.set_timesteps(5)
    x = noise
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
    out = sample(model, noise, sampler="euler", steps=times(scheduler, 5))
    torch.testing.assert_close(out, x, atol=1e-4 * float(x.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_edm_keeps_its_frame(unet, kind):
    scheduler = diffusers.EDMEulerScheduler(prediction_type=kind)
    model = from_diffusers(unet, scheduler)
    assert model.schedule == VE(80.0)
    noise = normal(2, 1, 8, 8)
    expected, _ = theirs(unet, scheduler, noise, 5)
    grid = times(scheduler, 5)
    start = noise * scheduler.init_noise_sigma / model.schedule.sigma(grid[0]).float()
    out = sample(model, start, sampler="euler", steps=grid)
    torch.testing.assert_close(out, expected, atol=2e-4 * float(expected.abs().max()), rtol=1e-3)


def test_a_dit_has_classes_a_branch_without_and_a_variance_that_is_left_out(transformer):
    scheduler = diffusers.DDIMScheduler(clip_sample=False, **PLAIN)
    model = from_diffusers(transformer, scheduler)
    assert (model.shape, model.classes) == ((2, 4, 4), 5)
    x, t, labels = normal(3, 2, 4, 4), torch.tensor(0.5), torch.tensor([0, 4, -1])
    asked = torch.full((3,), 499)
    raw = transformer(x, asked, class_labels=torch.tensor([0, 4, 5])).sample
    assert raw.shape[1] == 4, "twice the channels: the other half is a variance"
    torch.testing.assert_close(model(x, t, labels).noise, raw[:, :2], atol=1e-5, rtol=1e-4)
    plain, guided = (
        sample(model, x, steps=3, condition=labels.clamp_min(0)),
        target_trajectories(model, x, steps=3, condition=labels.clamp_min(0), guidance=3.0).samples,
    )
    assert bool((plain - guided).abs().max() > 1e-6)


def test_a_network_of_prompts_is_told_by_tables():
    network = seeded(
        lambda: diffusers.UNet2DConditionModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=4, cross_attention_dim=6,
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), norm_num_groups=4,
        )
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    with pytest.raises(ValueError, match="must be given encoder_hidden_states: pass told="):
        from_diffusers(network, scheduler)
    prompts, empty = normal(4, 3, 6), normal(3, 6, seed=1)
    name = "encoder_hidden_states"
    model = from_diffusers(network, scheduler, told={name: prompts}, untold={name: empty})
    x = normal(2, 1, 8, 8)
    raw = network(x, torch.tensor(499), torch.stack([prompts[2], empty])).sample
    told = model(x, torch.tensor(0.5), torch.tensor([2, -1])).noise
    torch.testing.assert_close(told, raw, atol=1e-5, rtol=1e-4)
    bare = from_diffusers(network, scheduler, told={name: prompts})
    with pytest.raises(ValueError, match="no way to be asked without a class: pass untold="):
        bare(x, torch.tensor(0.5))
    fixed = from_diffusers(network, scheduler, untold={name: empty})
    assert fixed.classes == 0
    torch.testing.assert_close(fixed(x, torch.tensor(0.5)).noise[1], raw[1], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="takes no argument 'prompt'"):
        from_diffusers(network, scheduler, told={name: prompts, "prompt": prompts})


def test_latents_are_decoded():
    vae = seeded(
        lambda: diffusers.AutoencoderKL(
            in_channels=3, out_channels=3, latent_channels=2, block_out_channels=(4, 8), norm_num_groups=2,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, sample_size=16,
            scaling_factor=0.5,
        )
    )  # fmt: skip

    class Pipeline:
        pass

    pipeline, latents = Pipeline(), normal(2, 2, 4, 4)
    assert decode(pipeline, latents) is latents
    pipeline.vae = vae
    images = decode(pipeline, latents)
    assert images.shape == (2, 3, 8, 8)
    torch.testing.assert_close(images, vae.decode(latents / 0.5).sample)


def test_adapters_go_on_it_and_students_come_of_it(unet):
    model = from_diffusers(unet, diffusers.DDIMScheduler(clip_sample=False, **PLAIN))
    assert isinstance(model, NetworkDenoiser)
    noise = normal(2, 1, 8, 8)
    before = sample(model, noise, steps=2)
    with lora.attach(model, only="*to_q", rank=1) as on:
        assert on.parts
        assert all("attentions" in name for name in on.parts)
        for part in on.parts.values():
            part.up.data += 1
        assert not bool((sample(model, noise, steps=2) == before).all())
    assert bool((sample(model, noise, steps=2) == before).all())
    student = distill(model, TDD(batch=4), steps=1, data=normal(8, 1, 8, 8), progress=False, device="cpu")
    assert sample(denoiser(student), noise, steps=student.times).shape == noise.shape


def test_what_cannot_be_read_is_refused(unet):
    scheduler = diffusers.DDIMScheduler()
    with pytest.raises(ValueError, match="scheduler is None"):
        from_diffusers(unet)
    with pytest.raises(ValueError, match="source is a dict"):
        from_diffusers({}, scheduler)
    with pytest.raises(ValueError, match="CMStochasticIterativeScheduler has no table alphas_cumprod"):
        from_diffusers(unet, diffusers.CMStochasticIterativeScheduler())
    blocks = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    with pytest.raises(ValueError, match="pass shape="):
        from_diffusers(seeded(lambda: diffusers.UNet2DModel(**blocks, norm_num_groups=4)), scheduler)


def test_their_grid_falls_to_zero():
    grid = times(diffusers.DDIMScheduler(), 4)
    torch.testing.assert_close(grid, torch.tensor([0.751, 0.501, 0.251, 0.001, 0.0], dtype=DOUBLE), atol=1e-9, rtol=0)


def test_a_student_of_a_pipeline_opens_again_when_the_pipeline_is_passed(tmp_path):
    diffusers = pytest.importorskip("diffusers")

    def pipeline(width):
        unet = diffusers.UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(width, width),
            down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
        )  # fmt: skip
        return diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler(num_train_timesteps=20))

    teacher = from_diffusers(pipeline(8))
    student = distill(teacher, TDD(batch=2, steps=1), progress=False)
    opened = records.open(student.save(tmp_path / "student.safetensors"))
    with pytest.raises(TypeError, match=r"pass network= .* of a diffusers pipeline what from_diffusers\(pipeline\)"):
        denoiser(opened)
    x, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor(0.5)
    fresh = pipeline(8)  # the same architecture, other weights
    told = denoiser(opened, network=from_diffusers(fresh))(x, t).x0
    assert torch.equal(told, denoiser(student)(x, t).x0)
    assert not torch.equal(told, from_diffusers(fresh)(x, t).x0)
    with pytest.raises(ValueError, match=r"a UNet2DModel, has no 'body\.conv_in\.bias'.* what from_diffusers"):
        denoiser(opened, network=fresh.unet)
    with pytest.raises(ValueError, match=r"network has body\..* of shape \(12.*, the record's is \(8"):
        denoiser(opened, network=from_diffusers(pipeline(12)))

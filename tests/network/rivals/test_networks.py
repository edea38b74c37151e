"""Every rival: its size, any frame, how far it sees, and that it learns; then what is particular to one."""

import pytest
import torch
from torch.nn import functional as F

from ufafuse.network.rivals import deepfuse, densefuse, mffgan, pcnn
from ufafuse.network.rivals.base import decided
from ufafuse.network.rivals.blurring import box, gaussian, laplacian
from ufafuse.network.rivals.colour import chroma, coloured, fused_chroma, luma
from ufafuse.network.rivals.made import build_rival
from ufafuse.network.spec import RIVALS, RivalSpec, Spec, find_spec, rival_spec
from ufafuse.network.weights import build_model
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.train.part import trained_part

NAMES = tuple(RIVALS)
FORMS = [spec for forms in RIVALS.values() for spec in forms]
ALIKE = sorted(set(NAMES) - {"rival-cnn", "rival-mffgan"})  # treat their frames alike by construction


def made(name):
    return build_model(name, seed=0).eval()


def frames(count, height, width, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.rand(1, 3, height, width, generator=rng) for _ in range(count)]


@pytest.mark.parametrize("spec", FORMS, ids=lambda spec: f"{spec.name}{spec.form}")
def test_the_count_of_parameters_is_what_the_description_says(spec):
    assert sum(weight.numel() for weight in build_rival(spec).parameters()) == spec.parameters


def test_the_slight_cnn_takes_what_its_paper_prints_and_the_full_one_twenty_times_that():
    slight, full = (spec.parameters * 4 for spec in RIVALS["rival-cnn"])
    assert slight / 2**20 == pytest.approx(1.66, abs=0.005)
    assert full / slight == pytest.approx(20, abs=0.3)


def test_densefuse_has_the_rows_of_its_papers_table():
    rows = [(1, 16), (16, 16), (32, 16), (48, 16), (64, 64), (64, 32), (32, 16), (16, 1)]
    convs = [module for module in made("rival-densefuse-add").modules() if isinstance(module, torch.nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == rows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (33, 30)])
def test_frames_of_any_size_come_out_as_they_went_in(name, size):
    net = made(name)
    with torch.inference_mode():
        fused, weight = net.forward_with_map(*frames(2, *size))
    assert fused.shape == (1, 3, *size)
    assert weight.shape == (1, 1, *size)
    assert fused.isfinite().all()
    assert 0 <= fused.min() <= fused.max() <= 1
    assert 0 <= weight.min() <= weight.max() <= 1


@pytest.mark.parametrize("name", ALIKE)
def test_the_order_of_the_frames_does_not_matter(name):
    net, (near, far) = made(name), frames(2, 20, 24)
    with torch.inference_mode():
        torch.testing.assert_close(net(near, far), net(far, near), atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"rival-sesf", "rival-densefuse-add"}))  # averages; the other rule
def test_a_pixel_changes_nothing_beyond_the_halo(name):
    net, halo = made(name), find_spec(name).halo
    side, middle = 2 * halo + 7, halo + 3
    near, far = frames(2, side, side)
    other = near.clone()
    other[..., middle, middle] = 1 - other[..., middle, middle]
    with torch.inference_mode():
        before, after = (torch.cat(net.forward_with_map(frame, far), 1) for frame in (near, other))
    rows, columns = torch.nonzero((after != before).any(1)[0], as_tuple=True)
    reached = max(int((places - middle).abs().max()) for places in (rows, columns))
    assert reached <= halo < reached + 8


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_lower_the_loss(name):
    net = build_model(name, seed=0).train()
    taught = trained_part(net, "all")
    near, far, truth = (torch.cat(frames(2, 34, 36, seed)) for seed in range(3))
    truth = F.interpolate(F.avg_pool2d(truth, 4), (34, 36), mode="bilinear")  # structures, not noise
    near, far = (0.9 * truth + 0.1 * frame for frame in (near, far))
    optimizer = torch.optim.Adam(net.parameters(), 5e-4)
    losses = []
    for _ in range(6):
        loss = taught(near, far, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-2:]) < 0.97 * losses[0]
    still = [key for key, weight in net.named_parameters() if weight.grad is None]
    assert not still, f"no gradient reaches {still}"


def test_a_rival_is_found_by_name_and_comes_back_from_its_description():
    for spec in FORMS:
        assert Spec.from_dict(spec.to_dict()) == spec
    assert isinstance(find_spec("rival-drpl"), RivalSpec)
    with pytest.raises(ModelError, match="no rival 'rival-foo'"):
        rival_spec("rival-foo")
    with pytest.raises(ModelError, match="of form 'huge'"):
        rival_spec("rival-cnn", "huge")


def test_what_a_rival_cannot_do_is_said():
    with pytest.raises(InputError, match="starts in its own way"):
        build_model("rival-sesf", init="focus")
    with pytest.raises(ModelError, match="fold the stack pair by pair"):
        made("rival-sesf").forward_stack(torch.zeros(1, 3, 3, 8, 8))


def test_the_image_wise_pixel_network_scores_as_patches_do():
    net = made("rival-pcnn")
    plane = frames(1, 40, 40)[0][:, :1]
    with torch.inference_mode():
        whole = net.pixel_scores(plane)
        for row, column in ((16, 16), (17, 20), (23, 24)):
            patch = plane[..., row - 16 : row + 16, column - 16 : column + 16]
            torch.testing.assert_close(net.patch_scores(patch)[0], whole[0, :, row, column], atol=1e-5, rtol=0)


def test_masks_of_training_patches_are_sharp_blurred_or_both():
    masks = pcnn._masks(300, torch.Generator().manual_seed(0)).float().mean((1, 2, 3))
    for share in (masks == 0, masks == 1, (masks > 0.1) & (masks < 0.9)):
        assert 0.2 < share.float().mean() < 0.45


def test_mef_ssim_wants_the_greater_contrast():
    sharp = frames(1, 32, 32)[0][:, :1]
    flat = box(sharp, 2)
    losses = {
        name: deepfuse.mef_loss(sharp, flat, fused).item()
        for name, fused in {"sharp": sharp, "mean": (sharp + flat) / 2, "flat": flat}.items()
    }
    assert losses["sharp"] < losses["mean"] < losses["flat"]
    assert deepfuse.mef_loss(sharp, sharp, sharp).item() == pytest.approx(0, abs=1e-4)


def test_mef_ssim_sees_the_local_mean_too():
    sharp = frames(1, 32, 32)[0][:, :1]
    brighter = deepfuse.mef_loss(sharp, sharp, sharp + 0.1).item()
    assert brighter - deepfuse.mef_loss(sharp, sharp, sharp).item() == pytest.approx(deepfuse.MEANS * 0.01, rel=0.05)


def test_the_sum_of_a_frame_with_itself_is_what_the_autoencoder_gives():
    net, (frame,) = made("rival-densefuse-add"), frames(1, 16, 18)
    with torch.inference_mode():
        alone = net.decode(net.encode_planes(frame[0][:, None]))[:, 0].clamp(0, 1)
        torch.testing.assert_close(net(frame, frame)[0], alone, atol=1e-5, rtol=0)


def test_the_l1_rule_follows_the_greater_activity():
    weak, strong = torch.full((1, 4, 6, 6), 0.1), torch.full((1, 4, 6, 6), 0.3)
    assert densefuse._share(strong, weak).mean() == pytest.approx(0.75, abs=1e-3)


def test_sesf_takes_the_sharp_frame():
    net, (sharp,) = made("rival-sesf"), frames(1, 40, 48)
    with torch.inference_mode():
        assert net.forward_with_map(sharp, gaussian(sharp, 2.0, 9))[1].mean() > 0.99


def test_the_content_loss_is_least_for_what_is_sharp():
    sharp = frames(1, 40, 40)[0][:, :1]
    blurred = gaussian(sharp, 2.0, 9)
    left = (torch.arange(40) < 20).float()
    near, far = left * sharp + (1 - left) * blurred, left * blurred + (1 - left) * sharp
    losses = [mffgan.content_loss(near, far, fused).item() for fused in (sharp, (near + far) / 2, blurred)]
    assert losses[0] < 0.5 * losses[1] < losses[1] < losses[2]


def test_the_discriminator_learns_beside_the_generator_and_is_not_saved():
    net = build_model("rival-mffgan", seed=0).train()
    taught = trained_part(net, "all")
    before = [weight.clone() for weight in taught.lesson.judge.parameters()]
    taught(*(torch.cat(frames(2, 32, 32, seed)) for seed in range(3))).backward()
    assert any((old != new).any() for old, new in zip(before, taught.lesson.judge.parameters(), strict=True))
    assert not any("judge" in name for name in taught.state_dict())


def test_ifcnn_keeps_the_statistics_of_its_normalisation():
    net = build_model("rival-ifcnn", seed=0).train()
    taught = trained_part(net, "all")
    taught(*frames(3, 32, 32)).backward()
    assert all((net.get_buffer(name) == 0).all() for name, _ in net.named_buffers() if name.endswith("running_mean"))


def test_brightness_and_colour_make_the_picture_again():
    frame = frames(1, 5, 6)[0]
    grey = luma(frame)
    torch.testing.assert_close(coloured(grey, chroma(frame, grey)), frame, atol=1e-6, rtol=0)


def test_the_more_coloured_frame_counts_more():
    faint, strong = torch.full((1, 2, 1, 1), 0.01), torch.full((1, 2, 1, 1), 0.3)
    assert fused_chroma(faint, strong).mean() > 0.28
    assert fused_chroma(-strong, strong).abs().max() < 1e-7


def test_a_decision_is_a_steep_ramp():
    assert decided(torch.tensor([-0.1, 0.0, 0.1])).tolist() == [0.0, 0.5, 1.0]


def test_blurs_keep_what_is_even_and_slopes_do_not_see_it():
    even = torch.full((1, 2, 9, 9), 0.4)
    torch.testing.assert_close(gaussian(even, 2.0, 7), even)
    torch.testing.assert_close(box(even, 3), even)
    assert laplacian(even).abs().max() < 1e-6

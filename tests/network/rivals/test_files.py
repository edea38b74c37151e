"""Weights of rivals: ours, and those that their authors published in whatever layout."""

import pickle

import numpy as np
import pytest
import torch

from ufafuse.network.rivals import places
from ufafuse.network.rivals.base import fuse_pair
from ufafuse.network.rivals.files import load_rival
from ufafuse.network.weights import build_model, load_weights, save_weights
from ufafuse.runtime.errors import InputError, ModelError

scipy_io = pytest.importorskip("scipy.io")


def made(name="rival-sesf", seed=3):
    return build_model(name, seed=seed).eval()


def same(one, other):
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def arrays_of(net):
    return {name: value.numpy() for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}


def as_tensorflow(array):
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


@pytest.fixture(params=["rival-sesf", "rival-ifcnn", "rival-mffgan"])
def net(request):
    return made(request.param)


def test_ours_come_back_as_they_were_and_as_halves_nearly(net, tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_weights(net, whole)
    save_weights(net, half, half=True)
    assert same(load_rival(net.spec.name, whole), net)
    assert same(load_weights(whole), net)
    assert half.stat().st_size < 0.65 * whole.stat().st_size
    for name, value in load_rival(net.spec.name, half).state_dict().items():
        torch.testing.assert_close(value, net.state_dict()[name], atol=2e-3, rtol=1e-3)


def test_a_state_dict_of_any_names_is_fitted_by_its_shapes(net, tmp_path):
    path = tmp_path / "published.pth"
    state = {f"module.layer{number}.x": value for number, value in enumerate(net.state_dict().values())}
    torch.save({"epoch": 30, "state_dict": state}, path)
    assert same(load_rival(net.spec.name, path), net)


def test_a_state_dict_of_our_names_is_taken_by_name_in_any_order(net, tmp_path):
    path = tmp_path / "named.pt"
    torch.save(dict(reversed(net.state_dict().items())), path)
    assert same(load_rival(net.spec.name, path), net)


@pytest.mark.parametrize("laid", [lambda array: array, as_tensorflow], ids=["torch", "tensorflow"])
def test_an_npz_may_lie_as_torch_or_tensorflow_has_it(net, tmp_path, laid):
    path = tmp_path / "published.npz"
    np.savez(path, **{f"w{number}": laid(value) for number, value in enumerate(arrays_of(net).values())})
    assert same(load_rival(net.spec.name, path), net)


def test_safetensors_of_somebody_else_are_fitted_too(net, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "published.safetensors"
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    assert same(load_rival(net.spec.name, path), net)


def test_a_mat_file_of_cells_and_structures_is_walked_through(net, tmp_path):
    path = tmp_path / "net.mat"
    layers = np.empty(len(arrays_of(net)), object)
    for number, value in enumerate(arrays_of(net).values()):
        layers[number] = {"weights": as_tensorflow(value), "type": "conv"}
    scipy_io.savemat(path, {"net": {"layers": layers}})
    assert same(load_rival(net.spec.name, path), net)


def test_matlabs_missing_last_side_of_one_is_put_back(net, tmp_path):
    path = tmp_path / "net.mat"
    laid = (as_tensorflow(value) for value in arrays_of(net).values())
    squeezed = [value[..., 0] if value.ndim == 4 and value.shape[3] == 1 else value for value in laid]
    scipy_io.savemat(path, {f"w{number:03}": value for number, value in enumerate(squeezed)})
    assert same(load_rival(net.spec.name, path), net)


def test_either_form_of_the_cnn_fits(tmp_path):
    from ufafuse.network.rivals.made import build_rival
    from ufafuse.network.spec import RIVALS

    for spec in RIVALS["rival-cnn"]:
        path = tmp_path / f"{spec.form}.npz"
        np.savez(path, *arrays_of(build_rival(spec)).values())
        assert load_rival("rival-cnn", path).spec.form == spec.form


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda arrays: dict(list(arrays.items())[:-1]), "none is left of shape 1 for decode.6.bias"),
        (lambda arrays: arrays | {"more": np.zeros((5, 5), np.float32)}, "more of shape 5 x 5 has no place"),
        (lambda arrays: {name: value[:1] for name, value in arrays.items()}, r"none is left of shape"),
        (lambda arrays: {name: np.full_like(value, np.nan) for name, value in arrays.items()}, "NaN or infinity"),
        (lambda arrays: {"text": np.array(["a"])}, "no array of numbers"),
    ],
    ids=["too few", "too many", "other shapes", "not numbers", "no numbers"],
)
def test_what_does_not_fit_is_said(tmp_path, spoilt, told):
    path = tmp_path / "published.npz"
    np.savez(path, **spoilt({f"w{number}": value for number, value in enumerate(arrays_of(made()).values())}))
    with pytest.raises(ModelError, match=told):
        load_rival("rival-sesf", path)


class Runs:
    def __reduce__(self):
        return (print, ("it was run",))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    for suffix in ("pth", "pt"):
        path = tmp_path / f"evil.{suffix}"
        torch.save({"weights": Runs()}, path)
        with pytest.raises(ModelError, match="what else it holds is not run"):
            load_rival("rival-sesf", path)
    path = tmp_path / "evil.npz"
    np.savez(path, weights=np.array([Runs()], object))
    with pytest.raises(ModelError, match=r"no \.npz file of plain arrays"):
        load_rival("rival-sesf", path)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(ModelError, match="not run"):
        load_rival("rival-sesf", tmp_path / "bare.pth")
    assert "it was run" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".mat", ".safetensors"])
@pytest.mark.parametrize("data", [b"", b"PK\3\4 no weights", bytes(range(256)) * 8], ids=["empty", "begun", "noise"])
def test_a_broken_file_is_said_to_be_broken(tmp_path, suffix, data):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="broken"):
        load_rival("rival-sesf", path)


def test_files_of_another_kind_place_or_network_are_refused(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(InputError, match=r"suffix '\.h5'"):
        load_rival("rival-sesf", tmp_path / "weights.h5")
    with pytest.raises(InputError, match="is not a file"):
        load_rival("rival-sesf", tmp_path / "none.pth")
    with pytest.raises(InputError, match="no rival 'rival-foo'"):
        load_rival("rival-foo")
    save_weights(made(), tmp_path / "sesf.safetensors")
    with pytest.raises(ModelError, match="holds the weights of 'rival-sesf', not of 'rival-drpl'"):
        load_rival("rival-drpl", tmp_path / "sesf.safetensors")


def test_both_densefuse_share_their_weights(tmp_path):
    save_weights(made("rival-densefuse-l1"), tmp_path / "dense.safetensors")
    assert not load_rival("rival-densefuse-add", tmp_path / "dense.safetensors").by_norm


def test_missing_weights_say_where_they_come_from(monkeypatch):
    monkeypatch.setattr(places, "weights_folder", lambda: None)
    with pytest.raises(InputError, match="pip install ufafuse-rivals"):
        places.rival_weights("rival-sesf")


@pytest.mark.parametrize("shape", [(21, 26, 3), (21, 26)])
def test_the_whole_method_gives_eight_bit_pictures(shape):
    rng = np.random.default_rng(0)
    near, far = (rng.integers(0, 256, shape, np.uint8) for _ in range(2))
    fused = fuse_pair(made("rival-cnn"), near, far)
    assert fused.shape == shape
    assert fused.dtype == np.uint8


def test_colours_keep_their_order():
    blue = np.zeros((20, 20, 3), np.uint8)
    blue[..., 0] = 200
    assert (fuse_pair(made(), blue, blue) == blue).all()

"""A rival from its name."""

from importlib import import_module

from ufafuse.network.rivals.base import RivalNet
from ufafuse.network.spec import RivalSpec

_CLASSES = {
    "rival-cnn": ("cnn", "Cnn"),
    "rival-pcnn": ("pcnn", "PixelCnn"),
    "rival-deepfuse": ("deepfuse", "DeepFuse"),
    "rival-densefuse-add": ("densefuse", "DenseFuse"),
    "rival-densefuse-l1": ("densefuse", "DenseFuse"),
    "rival-ifcnn": ("ifcnn", "Ifcnn"),
    "rival-sesf": ("sesf", "Sesf"),
    "rival-drpl": ("drpl", "Drpl"),
    "rival-mffgan": ("mffgan", "MffGan"),
}


def build_rival(spec: RivalSpec) -> RivalNet:
    """Build the network that `spec` names, with random weights of torch's current state."""
    module, name = _CLASSES[spec.name]
    net: RivalNet = getattr(import_module(f"ufafuse.network.rivals.{module}"), name)(spec)
    return net

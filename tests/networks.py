"""Small networks of every kind of the family."""

import dataclasses

from ufafuse.network.spec import Spec

TINY = {
    "reconstruct": Spec("tiny", widths=(8,), fold=1, encoder_blocks=(2,), decoder_blocks=(1,), head="reconstruct"),
    "select": Spec(
        "tiny-select",
        widths=(8, 12, 16),
        fold=2,
        encoder_blocks=(2, 1, 2),
        decoder_blocks=(1, 2, 0),
        head="select",
        symmetric=True,
    ),
    "plain-select": Spec(
        "tiny-plain", widths=(5, 7), fold=3, encoder_blocks=(1, 2), decoder_blocks=(1, 1), head="select", residual=False
    ),
    "select-only": Spec(
        "tiny-only",
        widths=(4, 6),
        fold=1,
        encoder_blocks=(1, 1),
        decoder_blocks=(1, 0),
        head="select",
        symmetric=True,
        residual=False,
    ),
    "deep-reconstruct": Spec(
        "tiny-deep", widths=(4, 6), fold=2, encoder_blocks=(1, 2), decoder_blocks=(1, 1), head="reconstruct"
    ),
}
TINY["detail"] = dataclasses.replace(TINY["select-only"], name="tiny-detail", fold=2, detail=True)

# Networks over a whole stack, which the tests of pairs' networks know nothing of.
TINY_STACKS = {
    "two scales": Spec(
        "tiny-stack",
        widths=(6, 5),
        fold=4,
        encoder_blocks=(1, 2),
        decoder_blocks=(1, 1),
        head="select",
        attention="no_channel",
        symmetric=True,
        residual=False,
        detail=True,
        gathers=True,
    )
}
TINY_STACKS["three scales"] = dataclasses.replace(
    TINY_STACKS["two scales"], name="tiny-stack-3", widths=(4, 6, 4), fold=4, encoder_blocks=(2, 1, 1), decoder_blocks=(2, 1, 0)
)

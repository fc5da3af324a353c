"""What is not finite ends a training before a checkpoint holds it, in one line."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from solo_ldm.run.callbacks.finite import NonFiniteLossError, StopAtNonFinite


class Diverging(pl.LightningModule):
    """A loss that is finite though its gradient is not, or a step that cannot be factorised."""

    def __init__(self, factorises: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.factorises = factorises

    def training_step(self, batch: Tensor, batch_idx: int) -> dict:
        if self.factorises:
            torch.linalg.cholesky(-torch.eye(2))
        loss = self.weight.sqrt().sum()  # at 0, with an infinite slope
        return {"loss": loss, "terms": {"loss": loss.detach()}}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("factorises", "said"),
    [(False, "1 of 1 weights are not finite after epoch 0, first weight; lower optimizer.lr"),
     (True, "step 0 of epoch 0 cannot be computed: linalg.cholesky: .*; lower optimizer.lr")],
)  # fmt: skip
def test_a_training_that_diverges_ends_before_its_weights_are_saved(tmp_path, factorises, said):
    saved = []

    class Save(pl.callbacks.Checkpoint):
        def on_train_epoch_end(self, trainer, pl_module):
            saved.append(trainer.current_epoch)

    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
        callbacks=[StopAtNonFinite(), Save()],
    )  # fmt: skip
    data = torch.utils.data.DataLoader(torch.zeros(1, 1))
    with pytest.raises(NonFiniteLossError, match=said) as caught:
        trainer.fit(Diverging(factorises), data)
    assert "\n" not in str(caught.value)
    assert not saved

"""The loss of a step: only labelled positions go through the LM head. Imports torch: import it inside functions only.

    score_labels(model)                                     # once, before training
    loss = model(input_ids=…, attention_mask=…, labels=…, over=…, decision_weight=4)

It is the mean cross entropy that stock TRL and transformers compute, but that the first token of an answer counts
`decision_weight` times. On a CPU a batch computes its common beginning once. The model's own forward returns the loss,
so that what is wrapped around the model (DDP, FSDP, autocast) takes part in it.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from torch.nn import functional

from stages import _fused, _tree
from stages._order import SHARED


def score_labels(model: PeftModel) -> None:
    """Let the causal model inside `model` answer with the loss where it is given labels; without it answers as ever."""
    causal: Any = model.get_base_model()
    stock = causal.forward

    def forward(
        *args: Any, labels: torch.Tensor | None = None, over: Any = None, decision_weight: float = 1.0, **inputs: Any
    ) -> Any:
        if labels is None:
            return stock(*args, **inputs)
        return labelled_loss(causal, {**inputs, "labels": labels}, over, decision_weight)

    causal.forward = forward


def labelled_loss(model: Any, inputs: dict[str, Any], over: Any = None, weight: float = 1.0) -> torch.Tensor:
    """Mean cross entropy over labelled positions; `over` is what their weights add up to in the whole step.

    The first token of each answer counts `weight` times in it. `inputs` are padded on the right: input_ids, labels and
    attention_mask of shape (rows, tokens).
    """
    causal = model.get_base_model() if isinstance(model, PeftModel) else model
    chosen = inputs["labels"][:, 1:] != -100
    shared = shared_tokens(inputs) if has_trees(causal) else 0
    alike = shared >= SHARED
    hidden = _as_a_tree(causal, inputs, shared, chosen) if alike else _as_rows(causal, inputs, chosen)
    head, labels = causal.get_output_embeddings(), inputs["labels"][:, 1:][chosen]
    weights = label_weights(inputs["labels"], weight)
    weights = weights / (weights.sum() if over is None else over)
    if type(head) is torch.nn.Linear and getattr(head, "bias", None) is None and not head.weight.requires_grad:
        return _fused.cross_entropy(hidden, head.weight, labels, weights)
    return (functional.cross_entropy(head(hidden).float(), labels, reduction="none") * weights).sum()


def label_weights(labels: torch.Tensor, weight: float) -> torch.Tensor:
    """How much each labelled token counts, in the order of rows: `weight` where it begins an answer, else 1."""
    chosen = labels[:, 1:] != -100
    goes_on = torch.zeros_like(chosen)
    goes_on[:, 1:] = chosen[:, :-1]
    return torch.where(goes_on[chosen], 1.0, weight)


def has_trees(causal: Any) -> bool:
    """Whether its attention takes rows that begin alike as one sequence (stages/_tree.py)."""
    return bool(getattr(causal.config, "_attn_implementation", None) == _tree.ATTENTION)


def shared_tokens(inputs: dict[str, Any]) -> int:
    """How many tokens all rows begin with alike, none of them followed by a labelled one; 0 for a single row."""
    ids, labels = inputs["input_ids"], inputs["labels"]
    if len(ids) < 2:
        return 0
    alike = (ids == ids[0]).all(0) & (inputs["attention_mask"] == 1).all(0) & (labels == -100).all(0)
    return max(0, int(alike.cumprod(0).sum()) - 1)


def _as_rows(causal: Any, inputs: dict[str, Any], chosen: torch.Tensor) -> torch.Tensor:
    """What foretells the chosen labels, row after row."""
    hidden: torch.Tensor = causal.get_decoder()(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
    ).last_hidden_state
    return hidden[:, :-1][chosen]


def _as_a_tree(causal: Any, inputs: dict[str, Any], shared: int, chosen: torch.Tensor) -> torch.Tensor:
    """The same by computing what the rows begin with once, and nothing that comes after the last label was foretold."""
    places = torch.arange(1, chosen.shape[1] + 1, device=chosen.device)
    lengths = (places * chosen).amax(1).clamp(min=shared + 1)
    tree = _tree.Tree.of(inputs["input_ids"], lengths.tolist(), shared)
    hidden: torch.Tensor = causal.get_decoder()(
        input_ids=tree.input_ids, position_ids=tree.positions, attention_mask=tree.no_mask, tree=tree, use_cache=False
    ).last_hidden_state
    computed = (places > shared) & (places <= lengths[:, None])
    return hidden[0, shared:][chosen[computed]]

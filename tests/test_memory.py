"""callwright.memory against transformers, PEFT, bitsandbytes, the vendors' numbers and published peaks.

No GPU is asked for: operations are followed on tensors without contents (torch's FakeTensorMode), at full size.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callwright.fitting import knobs_of, setting_of
from callwright.memory import GIB, Scored, Setting, counts, estimate, linear_layers, nf4_bytes
from callwright.params import Optimizer
from callwright.presets import Preset, Shape, preset_names, read_preset

if TYPE_CHECKING:
    import torch

LARGE = ("llama-3-8b", "mistral-7b", "qwen2.5-7b", "qwen3-8b")  # one of each architecture


def preset(name: str) -> tuple[Preset, Shape]:
    found = read_preset(name)
    assert found.shape is not None
    return found, found.shape


def shape(name: str, **other: Any) -> Shape:
    return preset(name)[1].model_copy(update=other)


# Parameters: transformers' own classes, PEFT's own count, the vendors' model cards.


@pytest.mark.parametrize("name", preset_names())
def test_parameters_are_those_that_transformers_and_peft_count(name: str) -> None:
    model = stock_model(shape(name), rank=16)
    trained, whole = model.get_nb_trainable_parameters()
    found = counts(shape(name), rank=16)
    assert (found.lora, found.base) == (trained, whole - trained)
    head = model.get_base_model().get_output_embeddings().weight
    assert found.head == (0 if shape(name).tie_word_embeddings else head.numel())


@pytest.mark.parametrize(
    ("name", "base", "lora"),
    [
        ("llama-3-8b", 8_030_261_248, 41_943_040),
        ("llama-3.1-8b", 8_030_261_248, 41_943_040),
        ("mistral-7b", 7_248_023_552, 41_943_040),
        ("qwen2.5-7b", 7_615_616_512, 40_370_176),
        ("qwen3-8b", 8_190_735_360, 43_646_976),
        ("smollm2-135m", 134_515_008, 4_884_480),
    ],
)
def test_parameters_are_the_published_ones(name: str, base: int, lora: int) -> None:
    found = counts(shape(name), rank=16)
    assert (found.base, found.lora) == (base, lora)


# Weights in NF4: bitsandbytes' own state of a layer.


@pytest.mark.parametrize(("out", "into"), [(64, 64), (192, 576), (1536, 576), (33, 10), (256, 72)])
def test_nf4_takes_the_bytes_that_bitsandbytes_holds(out: int, into: int) -> None:
    import torch
    from bitsandbytes.functional import quantize_4bit

    packed, state = quantize_4bit(torch.randn(out, into), blocksize=64, compress_statistics=True, quant_type="nf4")
    held = [packed, state.absmax, state.offset, state.code, state.state2.absmax, state.state2.code]
    assert nf4_bytes(out * into) == sum(each.numel() * each.element_size() for each in held)


@pytest.mark.parametrize(
    ("name", "gigabytes"), [("llama-3-8b", 5.70), ("mistral-7b", 4.14), ("qwen2.5-7b", 5.55), ("qwen3-8b", 6.07)]
)
def test_weights_are_as_large_as_the_notes_say(name: str, gigabytes: float) -> None:
    """Computed by other hands, to two digits."""
    assert round(estimate(shape(name), on_gpu()).weights / 1e9, 2) == gigabytes


# Activations: what the operations of the real libraries ask for.


def on_gpu(**other: Any) -> Setting:
    return replace(Setting(length=2048, rows=2, rank=16, on_gpu=True), **other)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize(("rows", "length"), [(2, 2048), (1, 512), (8, 1024)])
def test_activations_are_what_the_operations_ask_for(name: str, rows: int, length: int) -> None:
    few, setting = shape(name, num_hidden_layers=3), on_gpu(rows=rows, length=length)
    found, followed = estimate(few, setting), follow(few, rows, length)
    assert found.kept + found.layer == pytest.approx(followed.peak, rel=0.05)


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-8b"])
def test_each_layer_more_keeps_its_inputs_and_nothing_else(name: str) -> None:
    def both(layers: int) -> tuple[int, int]:
        of = shape(name, num_hidden_layers=layers)
        return estimate(of, on_gpu()).kept, follow(of, 2, 2048).kept

    (few, few_followed), (many, many_followed) = both(2), both(5)
    assert many - few == many_followed - few_followed


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-8b"])
def test_without_checkpointing_all_of_a_layer_is_kept(name: str) -> None:
    def both(layers: int) -> tuple[int, int]:
        of = shape(name, num_hidden_layers=layers)
        return estimate(of, on_gpu(checkpointing=False)).kept, follow(of, 2, 2048, checkpointing=False).kept

    (few, few_followed), (many, many_followed) = both(2), both(4)
    assert many - few == pytest.approx(many_followed - few_followed, rel=0.05)


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-8b"])
def test_hidden_states_in_float32_take_more(name: str) -> None:
    """As prepare_model_for_kbit_training leaves a model: embeddings, norms and LoRA in float32, products in float16."""
    few, setting = shape(name, num_hidden_layers=3), on_gpu(upcast=True, lora_number=4)
    found, followed = estimate(few, setting), follow(few, 2, 2048, upcast=True)
    assert found.kept + found.layer == pytest.approx(followed.peak, rel=0.05)


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen2.5-7b"])
def test_scores_of_all_positions_are_what_transformers_asks_for(name: str) -> None:
    few = shape(name, num_hidden_layers=1)
    found = estimate(few, on_gpu(scored=Scored.ALL))
    assert found.kept + found.logits == pytest.approx(follow(few, 2, 2048, with_loss=True).peak, rel=0.05)


@pytest.mark.parametrize("labelled", [0.05, 0.2, 1.0])
def test_scores_of_labelled_positions_are_what_our_loss_asks_for(labelled: float) -> None:
    import torch

    from stages._fused import _CrossEntropyInParts

    llama, tokens = shape("llama-3-8b"), 4096
    labels = math.ceil(tokens * labelled)
    with fake_tensors():
        hidden = torch.empty(labels, llama.hidden_size, dtype=torch.bfloat16, requires_grad=True)
        head = torch.empty(llama.vocab_size, llama.hidden_size, dtype=torch.bfloat16)
        targets, weights = torch.zeros(labels, dtype=torch.long), torch.ones(labels)
        with following([hidden, head, targets, weights]) as followed:
            loss: Any = _CrossEntropyInParts
            loss.apply(hidden, head, targets, weights).backward()
    not_run = 6 * llama.hidden_size * tokens + 2 * llama.hidden_size * labels  # the decoder's end, picking out
    found = estimate(llama, on_gpu(labelled=labelled)).logits - not_run
    assert found == pytest.approx(followed.peak, rel=0.03)


@pytest.mark.parametrize(("int8", "rows", "length"), [(False, 2, 128), (True, 2, 128)])
def test_activations_on_a_cpu_are_what_is_really_allocated(int8: bool, rows: int, length: int) -> None:
    """Real numbers here: bytes multiplied by oneDNN have no counterpart without contents."""
    import torch

    from stages import _fused
    from stages._model import has_int8

    few = shape("smollm2-135m", num_hidden_layers=4, vocab_size=64)
    if int8 and not has_int8():
        pytest.skip("this CPU multiplies no bytes")
    model = stock_model(few, rank=16, device="cpu")
    _fused.speed_up(model, int8)
    known = [*model.parameters(), *model.buffers()]
    with following(known) as followed:
        hidden = model.get_base_model().get_decoder()(
            input_ids=torch.zeros(rows, length, dtype=torch.long), use_cache=False
        )
        kept = followed.live
        hidden.last_hidden_state.sum().backward()
    found = estimate(few, Setting(length, rows, 16, on_gpu=False, checkpointing=False, int8=int8))
    assert found.kept == pytest.approx(kept, rel=0.1)
    assert found.kept + found.layer == pytest.approx(followed.peak, rel=0.2)


# Whole trainings: published and measured peaks.

NOTEBOOK = Setting(
    length=1024,
    rows=1,
    rank=32,
    on_gpu=True,
    scored=Scored.FUSED,
    lora_number=4,
    upcast=True,
    offloaded=True,
)
"""TRL's notebook "Supervised Fine-Tuning (SFT) with LoRA/QLoRA using TRL — on a Free Colab Notebook", October 2025:
https://github.com/huggingface/trl/blob/main/examples/notebooks/sft_trl_lora_qlora.ipynb. A T4 and float16, NF4 with
double quantisation, r 32 on all linear layers, max_length 1024, one row at a time, paged_adamw_8bit, use_liger_kernel,
gradient_checkpointing, activation_offloading; TRL then called prepare_model_for_kbit_training. Its figures stand beside
the models' names. Where it prints one, it is torch.cuda.max_memory_reserved() / 1024**3, called GB.
"""


@pytest.mark.parametrize(("name", "published"), [("llama-3.1-8b", 10.9), ("qwen2.5-7b", 10.8), ("qwen3-8b", 12.8)])
def test_peaks_are_within_15_percent_of_the_notebooks(name: str, published: float) -> None:
    found = estimate(shape(name), NOTEBOOK).reserved / GIB
    print(f"{name}: estimated {found:.2f}, published {published}, ratio {found / published:.3f}")
    assert found == pytest.approx(published, rel=0.15)


def test_torchtunes_peak_is_near() -> None:
    """Its README, "Memory and training speed": 7.4 GiB. Llama 3.1 8B, r 8, 2 rows of 2,048, a loss in chunks, compiled.

    What it logs is the peak of what torch has allocated, without gaps and context.
    """
    found = estimate(shape("llama-3.1-8b"), on_gpu(rank=8, labelled=1.0)).allocated / GIB
    assert found == pytest.approx(7.4, rel=0.15)


@pytest.mark.parametrize("name", ["llama-3-8b", "llama-3.1-8b", "mistral-7b", "qwen2.5-7b", "qwen3-8b"])
def test_every_preset_of_7_or_8_billion_fits_into_16_gib(name: str) -> None:
    found, of = preset(name)
    assert found.max_length == 2048
    setting = setting_of(knobs_of(found, on_gpu=True), 2048, on_gpu=True)
    assert setting.labelled == 1
    assert estimate(of, setting).total < 16 * GIB


def embedded(**other: Any) -> Setting:
    found, _ = preset("smollm2-135m")
    assert found.max_length is not None
    return replace(setting_of(knobs_of(found, on_gpu=False), found.max_length, on_gpu=False), **other)


def test_the_embedded_default_takes_what_was_measured() -> None:
    """8 rows of 512 tokens without a common beginning, a fifth of them labelled, int8: 4.38 GB resident at most."""
    assert estimate(shape("smollm2-135m"), embedded(labelled=0.2)).total == pytest.approx(4.38e9, rel=0.1)


# What must hold for any setting.

SETTINGS = st.builds(
    Setting,
    length=st.integers(1, 8192),
    rows=st.integers(1, 64),
    rank=st.sampled_from([1, 8, 16, 64]),
    on_gpu=st.booleans(),
    nf4=st.booleans(),
    optimizer=st.sampled_from(Optimizer),
    checkpointing=st.booleans(),
    scored=st.sampled_from(Scored),
    labelled=st.floats(0.01, 1),
    int8=st.booleans(),
)


@given(setting=SETTINGS, name=st.sampled_from(preset_names()), more=st.integers(1, 64))
def test_more_of_anything_never_takes_less(setting: Setting, name: str, more: int) -> None:
    before = estimate(shape(name), setting).total
    assert before > 0
    for other in (
        replace(setting, length=setting.length + more),
        replace(setting, rows=setting.rows + more),
        replace(setting, rank=setting.rank + more),
        replace(setting, labelled=1.0),
        replace(setting, upcast=True, on_gpu=True) if setting.on_gpu else setting,
    ):
        assert estimate(shape(name), other).total >= before


@given(setting=SETTINGS, name=st.sampled_from(preset_names()))
def test_the_parts_add_up(setting: Setting, name: str) -> None:
    m = estimate(shape(name), setting)
    parts = m.weights + m.lora + m.gradients + m.optimizer + m.kept + m.overhead
    assert m.total == parts + max(m.layer, m.logits)
    assert m.total == m.reserved + m.outside
    assert all(size >= 0 for size in (m.weights, m.kept, m.layer, m.logits, m.slack))


def test_a_common_beginning_is_computed_once_on_a_cpu() -> None:
    """8 rows of 512 of which half is common: 256 + 8 x 256 tokens."""
    apart = estimate(shape("smollm2-135m"), embedded()).kept
    assert estimate(shape("smollm2-135m"), embedded(shared=0.5)).kept == apart * (256 + 8 * 256) // (8 * 512)


def test_eight_bit_moments_are_a_quarter_of_soaps() -> None:
    of = shape("mistral-7b")
    eight, soap = (estimate(of, on_gpu(optimizer=kind)).optimizer for kind in (Optimizer.ADAMW, Optimizer.SOAP))
    assert 3.9 < soap / eight < 4.1


# Following operations.


def stock_model(of: Shape, rank: int, device: str = "meta", *, nf4: bool = False) -> Any:
    """A model of transformers with PEFT's LoRA, in training, bfloat16."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    said = of.model_dump()
    config = AutoConfig.for_model(said.pop("model_type"), **said)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
        if nf4:
            _make_4bit(model)
        lora = LoraConfig(r=rank, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        tuned = get_peft_model(model, lora, autocast_adapter_dtype=False)
    tuned.config.use_cache = False
    return tuned.train()


def _make_4bit(model: Any) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    for name, layer in list(model.model.named_modules()):
        if isinstance(layer, torch.nn.Linear):
            bias, kind = layer.bias is not None, torch.bfloat16
            four = Linear4bit(
                layer.in_features, layer.out_features, bias=bias, compute_dtype=kind, quant_type="nf4", device="meta"
            )
            model.model.set_submodule(name, four)
    model.is_loaded_in_4bit = True


class Followed:
    """Bytes of what was made and is still there."""

    live = 0
    peak = 0
    kept = 0


def following(known: list[torch.Tensor]) -> Any:
    """A context in which every operation is followed, backward ones too; `known` tensors do not count."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    class Following(TorchDispatchMode, Followed):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.seen = {tensor.untyped_storage()._cdata for tensor in known}

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            for tensor in tree_iter(made):
                if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.seen:
                    self._add(tensor.untyped_storage())
            if "gemm_4bit" in str(func):  # on a GPU, with many rows, the weight is made dense inside
                out, into = args[2]
                self.peak = max(self.peak, self.live + 2 * out * into)
            return made

        def _add(self, storage: Any) -> None:
            key, size = storage._cdata, storage.nbytes()
            self.seen.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._drop, key, size)

        def _drop(self, key: int, size: int) -> None:
            self.live -= size
            self.seen.discard(key)

    return Following()


@contextmanager
def fake_tensors() -> Iterator[None]:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def follow(
    of: Shape, rows: int, length: int, *, checkpointing: bool = True, upcast: bool = False, with_loss: bool = False
) -> Followed:
    """One forward and backward of the stock NF4 model with LoRA of rank 16; `kept` is what is left between them."""
    import torch

    model = stock_model(of, rank=16, nf4=True)
    with fake_tensors():
        known = _without_contents(model, torch.float32 if upcast else torch.bfloat16)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        ids = torch.zeros(rows, length, dtype=torch.long)
        mask = torch.ones(rows, 1, length, length, dtype=torch.bool)  # as where rows are filled up
        inside = model if with_loss else model.get_base_model().get_decoder()
        labels = {"labels": ids} if with_loss else {}
        known += [ids]
        with following(known) as followed:
            with torch.autocast("cpu", torch.float16 if upcast else torch.bfloat16):
                out = inside(input_ids=ids, attention_mask=mask, use_cache=False, **labels)
                last = out.loss if with_loss else out.last_hidden_state
                del out  # and with it the scores, as the Trainer does
            followed.kept = followed.live
            last.backward(torch.ones_like(last))
    found: Followed = followed
    return found


def _without_contents(model: Any, others: torch.dtype) -> list[torch.Tensor]:
    """Give every weight of a model on the meta device a size, NF4 ones their quantisation state; all of them."""
    import torch
    from bitsandbytes.nn import Params4bit

    known: list[torch.Tensor] = []
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if isinstance(weight, Params4bit):
                module._parameters[name] = _packed(weight.shape[0], weight.shape[1], known)
            elif weight is not None:
                made = torch.empty(weight.shape, dtype=others)
                module._parameters[name] = torch.nn.Parameter(made, requires_grad=weight.requires_grad)
            known += [each for each in (module._parameters[name],) if each is not None]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
                known.append(module._buffers[name])
    return known


def _packed(out: int, into: int, known: list[torch.Tensor]) -> Any:
    import torch
    from bitsandbytes.functional import QuantState

    blocks = out * into // 64
    codes, scales = torch.empty(16), torch.empty(math.ceil(blocks / 256))
    second = QuantState(absmax=scales, blocksize=256, code=torch.empty(256), dtype=torch.float32)
    state = QuantState(
        absmax=torch.empty(blocks, dtype=torch.uint8),
        shape=(out, into),
        dtype=torch.bfloat16,
        blocksize=64,
        quant_type="nf4",
        code=codes,
        offset=torch.empty(()),
        state2=second,
    )
    weight: Any = torch.nn.Parameter(torch.empty(out * into // 2, 1, dtype=torch.uint8), requires_grad=False)
    weight.quant_state = state
    known += [state.absmax, codes, scales]
    return weight


def test_the_linear_layers_are_seven() -> None:
    """Of Llama 3 8B, as its config.json says."""
    assert linear_layers(shape("llama-3-8b")) == [
        (4096, 4096),
        (1024, 4096),
        (1024, 4096),
        (4096, 4096),
        (14336, 4096),
        (14336, 4096),
        (4096, 14336),
    ]

"""The train stage on a two-layer Llama: its curve, its guards, interruption and going on."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from callwright.faults import Fault
from callwright.outs import REFUSALS, refusal, write_lines
from callwright.params import Optimizer, Params, Quantization, check_params
from stages import _entry, _fits, _fused, _loss, _model, _order, _qlora, _trainer, _tree, train
from stages._tracking import Mirror
from tests.rows import params_value
from tests.tiny import ROOT, make_base


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 on every CPU, also one with bfloat16 instructions: these tests hold numbers against each other."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(_model, "number_format", lambda: torch.float32)


@pytest.fixture
def project(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny base and 20 rows, in which a stage can run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none/there.db"
    )  # a broken store: tracking must not matter
    shutil.copytree(base, "models/base")
    rng = random.Random(3)
    for split, count in (("train", 20), ("dev", 3)):
        folder = Path("data/formatted/native")
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(folder / f"{split}.jsonl", [row(f"{split}-{i}", rng) for i in range(count)])
    for name in ("stages", "presets"):
        Path(name).symlink_to(ROOT / name)
    return tmp_path


def row(row_id: str, rng: random.Random) -> dict[str, Any]:
    ids = [rng.randrange(5, 40_000) for _ in range(rng.randrange(20, 40))]
    return {"id": row_id, "text": "", "input_ids": ids, "labels": [-100] * 12 + ids[12:]}


def params(**knobs: Any) -> Params:
    value = params_value()
    value["train"] |= {"epochs": 2.0, "batch_size": 4, "rows_at_a_time": 4, "checkpoint_steps": 3} | knobs
    return check_params(value)


def curve(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "history.jsonl").read_text().splitlines()]


def run(knobs: Params, work: Path) -> Any:
    work.mkdir(parents=True, exist_ok=True)
    return train.train(knobs, "0" * 64, work)


def test_a_training_leaves_an_adapter_its_whole_curve_and_a_summary(project: Path) -> None:
    done = run(params(), Path("work"))
    assert done is not None
    model, summary = done
    train.save(model, summary, Path("work"))
    history = [json.loads(line) for line in Path("reports/train/history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == list(range(1, 11))
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["epoch"] == 2.0
    assert summary["steps"] == 10
    assert summary["train_tokens"] == history[-1]["tokens"]
    assert 0 < summary["dev_loss"] < 20
    assert (project / "models/adapter/adapter_model.safetensors").is_file()
    config = json.loads(Path("models/adapter/adapter_config.json").read_text())
    assert {name.rpartition(".")[2] for name in config["target_modules"]} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    assert not Path("models/adapter/README.md").exists()


def test_the_learning_rate_rises_stays_and_falls_to_zero(project: Path) -> None:
    done = run(params(warmup_share=0.2, decay_share=0.4, learning_rate=0.01), Path("work"))
    assert done is not None
    model, summary = done
    train.save(model, summary, Path("work"))
    rates = [json.loads(line)["learning_rate"] for line in Path("reports/train/history.jsonl").read_text().splitlines()]
    cosine = [0.01 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(1, 4)]
    assert rates == pytest.approx([0.0, 0.005, 0.01, 0.01, 0.01, 0.01, 0.01, *cosine])


def test_either_optimizer_learns_and_each_takes_its_own_steps(project: Path) -> None:
    curves = {}
    for kind, remembers in ((Optimizer.SOAP, "basis"), (Optimizer.ADAMW, "exp_avg")):
        assert run(params(optimizer=str(kind), learning_rate=0.01), Path(kind)) is not None
        curves[kind] = curve(Path(kind))
        saved = torch.load(next(Path(kind).rglob("optimizer.pt")), weights_only=True)
        assert remembers in saved["state"][0]
    soap, adamw = curves.values()
    assert soap[0] == pytest.approx(adamw[0], abs=1e-4)
    assert soap[-1] < soap[0]
    assert adamw[-1] < adamw[0]
    assert soap[2:] != pytest.approx(adamw[2:], abs=1e-3)


@pytest.mark.parametrize("quantization", list(Quantization))
def test_what_is_served_is_what_was_trained(project: Path, quantization: Quantization) -> None:
    """Merged into the base as it was in training: an adapter has learnt to make up for the rounding too."""
    done = run(params(quantization=str(quantization), learning_rate=0.05), Path("work"))
    assert done is not None
    model, summary = done
    train.save(model, summary, Path("work"))
    served = _model.load_with_adapter(train.BASE, train.ADAPTER, torch.float32)
    ids = torch.tensor([json.loads((train.NATIVE / "dev.jsonl").read_text().splitlines()[0])["input_ids"]])
    with torch.no_grad():
        assert torch.allclose(served(ids).logits, model.eval()(ids).logits, atol=1e-4)


@pytest.mark.parametrize("number", [torch.float32, torch.bfloat16])
def test_an_interrupted_training_goes_on_to_the_curve_of_an_unbroken_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, number: torch.dtype
) -> None:
    monkeypatch.setattr(_model, "number_format", lambda: number)
    run(params(), Path("unbroken"))
    calls = iter(range(100))
    monkeypatch.setattr(train._Stop, "__call__", lambda _: next(calls) == 4)  # asked to stop during step 5
    with pytest.raises(_entry.Interrupted):
        run(params(), Path("broken"))
    assert len(curve(Path("broken"))) == 5
    monkeypatch.setattr(train._Stop, "__call__", lambda _: False)
    run(params(), Path("broken"))
    assert curve(Path("broken")) == pytest.approx(curve(Path("unbroken")), abs=1e-4)


def _main_with_room_for(size: int, project: Path) -> None:
    """The stage in a process whose files may not grow beyond `size` bytes, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    os.chdir(project)
    os.dup2(os.open("said", os.O_CREAT | os.O_WRONLY), 2)
    _entry.run(train.main)


def test_a_disk_that_refuses_a_checkpoint_is_told_and_nothing_is_left_cut_off(project: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(re.sub(r"checkpoint_steps: \w+", "checkpoint_steps: 2", text), encoding="utf-8")
    process = multiprocessing.get_context("spawn").Process(target=_main_with_room_for, args=(100_000, project))
    process.start()
    process.join(180)
    assert process.exitcode == 2, Path("said").read_text(encoding="utf-8")
    said = Path("said").read_text(encoding="utf-8").splitlines()[-1]
    assert re.search(r"could not be written: .*; the last whole checkpoint in it is kept\. Make room", said), said
    assert not Path("models/adapter").exists()
    assert not list(Path().rglob("checkpoint-*"))


def _save_with_room_for(size: int, folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        torch.save(torch.zeros(100_000), folder / "optimizer.pt")
    except (OSError, RuntimeError) as error:
        os._exit(refusal(error) or 255)


def test_torchs_own_writer_names_no_reason_but_is_known(tmp_path: Path) -> None:
    """The optimizer's state is written by torch.save, after the weights: its failure is a disk's refusal too."""
    process = multiprocessing.get_context("spawn").Process(target=_save_with_room_for, args=(10_000, tmp_path))
    process.start()
    process.join(60)
    assert process.exitcode in REFUSALS


@pytest.mark.parametrize("shared", [0, 40])
def test_loss_and_gradients_are_those_of_stock_transformers(project: Path, shared: int) -> None:
    model = _qlora.load(train.BASE, params().train)
    for name, weight in model.named_parameters():  # fresh LoRA is zero, and so are most of its gradients
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    head = [random.Random(1).randrange(5, 40_000) for _ in range(shared)]
    rows = [json.loads(line) for line in (train.NATIVE / "train.jsonl").read_text().splitlines()][:4]
    rows = [{"input_ids": head + r["input_ids"], "labels": [-100] * shared + r["labels"]} for r in rows]
    batch = DataCollatorForLanguageModeling(pad_token_id=2)(rows)
    assert (_loss.shared_tokens(batch) >= _order.SHARED) == bool(shared)
    stock = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss
    stock.backward()
    wanted = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    _fused.speed_up(model)
    ours: Any = _loss.labelled_loss(model, dict(batch))
    ours.backward()
    assert float(ours.detach()) == pytest.approx(float(stock.detach()), rel=1e-5)
    assert wanted
    for name, weight in model.named_parameters():
        if name in wanted:
            assert torch.allclose(weight.grad, wanted[name], atol=1e-5), name


def test_the_loss_by_hand_is_torchs_with_its_gradient() -> None:
    """For more labels than are in float32 at a time, not a whole number of such parts."""
    torch.manual_seed(4)
    labels, weights = torch.randint(0, 50, (2 * _fused.LABELS + 3,)), torch.rand(2 * _fused.LABELS + 3)
    hidden, head = torch.randn(len(labels), 8, requires_grad=True), torch.randn(50, 8)
    theirs = (torch.nn.functional.cross_entropy(hidden @ head.t(), labels, reduction="none") * weights).sum()
    (wanted,) = torch.autograd.grad(3 * theirs, hidden)
    ours = _fused.cross_entropy(hidden, head, labels, weights)
    assert torch.allclose(ours, theirs)
    assert torch.allclose(torch.autograd.grad(3 * ours, hidden)[0], wanted, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(_fused.cross_entropy(hidden, head, labels, weights), theirs)


INT8 = pytest.mark.skipif(not _model.has_int8(), reason="this CPU has no instructions for products of bytes")


@INT8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_of_bytes_are_off_by_a_hundredth_and_no_token_spoils_another(dtype: torch.dtype) -> None:
    """Each token for itself: large ones, tiny ones, ones of zeros, ones that a single value rules."""
    torch.manual_seed(5)
    weight = (torch.randn(96, 64) * torch.rand(96, 1)).to(dtype)
    inputs = torch.randn(400, 64) * torch.logspace(-6, 4, 400)[:, None]
    inputs[::7] = 0
    inputs[1::7, 3] *= 1000
    frozen = _fused._Int8(weight)
    for given, made, exact in (
        (inputs.to(dtype), frozen.ahead, weight.double().t()),
        ((inputs @ torch.randn(64, 96)).to(dtype), frozen.back, weight.double()),
    ):
        wanted, found = given.double() @ exact, made(given)
        assert found.dtype is dtype
        assert not found[::7].any()
        off = (found.double() - wanted).norm(dim=1)
        assert bool((off <= 0.03 * given.double().norm(dim=1) * exact.norm() / 8).all())


@INT8
def test_a_step_with_products_of_bytes_goes_the_way_of_an_exact_one(project: Path) -> None:
    rows = [json.loads(line) for line in (train.NATIVE / "train.jsonl").read_text().splitlines()][:4]
    batch = DataCollatorForLanguageModeling(pad_token_id=2)(
        [{key: row[key] for key in ("input_ids", "labels")} for row in rows]
    )
    losses, ways = [], []
    for int8 in (False, True):
        model = _qlora.load(train.BASE, params().train)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(weight, 1e-3)
        _fused.speed_up(model, int8)
        loss = _loss.labelled_loss(model, dict(batch))
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            losses.append([float(loss.detach()), float(_loss.labelled_loss(model, dict(batch)))])
        ways.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
    exact, rounded = losses
    assert rounded[0] == pytest.approx(exact[0], rel=0.03)
    assert rounded[0] != exact[0]
    assert rounded[1] == exact[1], "without gradients products are exact"
    assert torch.cosine_similarity(ways[0], ways[1], dim=0) > 0.98


def test_a_head_with_a_bias_is_not_left_out(project: Path) -> None:
    model = _qlora.load(train.BASE, params().train)
    causal: Any = model.get_base_model()
    rows = [json.loads(line) for line in (train.NATIVE / "train.jsonl").read_text().splitlines()][:2]
    batch = DataCollatorForLanguageModeling(pad_token_id=2)(
        [{key: row[key] for key in ("input_ids", "labels")} for row in rows]
    )
    causal.lm_head.bias = torch.nn.Parameter(torch.randn(causal.lm_head.out_features), requires_grad=False)
    stock = model(**batch).loss
    assert float(_loss.labelled_loss(model, dict(batch)).detach()) == pytest.approx(float(stock.detach()), rel=1e-5)


@pytest.mark.parametrize("shared", [0, 40])
def test_the_first_token_of_an_answer_counts_as_often_as_asked(project: Path, shared: int) -> None:
    """Held against a sum by hand; rows have one answer, and one of them two."""
    model = _qlora.load(train.BASE, params().train)
    head = [random.Random(1).randrange(5, 40_000) for _ in range(shared)]
    rows = [json.loads(line) for line in (train.NATIVE / "train.jsonl").read_text().splitlines()][:4]
    rows = [{"input_ids": head + r["input_ids"], "labels": [-100] * shared + r["labels"]} for r in rows]
    rows[1]["labels"][shared + 14 : shared + 17] = [-100] * 3
    batch = DataCollatorForLanguageModeling(pad_token_id=2)(rows)
    total, count = 0.0, 0.0
    for one in rows:
        logits = model(input_ids=torch.tensor([one["input_ids"]])).logits[0].detach().log_softmax(-1)
        for i, label in enumerate(one["labels"]):
            if label != -100:
                weight = 4 if one["labels"][i - 1] == -100 else 1
                total, count = total - weight * float(logits[i - 1, label]), count + weight
    _loss.score_labels(model)
    for loss in (_loss.labelled_loss(model, dict(batch), None, 4.0), model(**batch, decision_weight=4.0)):
        assert float(loss.detach()) == pytest.approx(total / count, rel=1e-5)
    halved = _loss.labelled_loss(model, dict(batch), 2 * count, 4.0)
    assert float(halved.detach()) == pytest.approx(total / count / 2, rel=1e-5)


def test_a_layer_with_dropout_keeps_its_own_forward(project: Path) -> None:
    for dropout, by_hand in ((0.1, False), (0.0, True)):
        knobs = params(lora={"rank": 16, "alpha": 32, "dropout": dropout})
        model = _qlora.load(train.BASE, knobs.train)
        _fused.speed_up(model)
        layer = model.get_base_model().model.layers[0].mlp.up_proj
        assert ("forward" in vars(layer)) is by_hand


def test_in_bfloat16_the_loss_is_stocks_to_its_three_digits(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_model, "number_format", lambda: torch.bfloat16)
    model = _qlora.load(train.BASE, params().train)
    head = [random.Random(1).randrange(5, 40_000) for _ in range(40)]
    rows = [json.loads(line) for line in (train.NATIVE / "train.jsonl").read_text().splitlines()][:4]
    rows = [{"input_ids": head + r["input_ids"], "labels": [-100] * 40 + r["labels"]} for r in rows]
    batch = DataCollatorForLanguageModeling(pad_token_id=2)(rows)
    ours, stock = _loss.labelled_loss(model, dict(batch)), model(**batch).loss
    assert ours.dtype is torch.float32
    assert float(ours.detach()) == pytest.approx(float(stock.detach()), rel=4e-3)


def test_a_label_right_after_the_common_beginning_is_not_lost(project: Path) -> None:
    head = [random.Random(1).randrange(5, 40_000) for _ in range(40)]
    rows = [{"input_ids": [*head, 7 + i, 9], "labels": [-100] * 39 + [head[39], 7 + i, -100]} for i in range(2)]
    batch = DataCollatorForLanguageModeling(pad_token_id=2)(rows)
    assert _loss.shared_tokens(batch) == 38
    model = _qlora.load(train.BASE, params().train)
    assert float(_loss.labelled_loss(model, dict(batch)).detach()) == pytest.approx(
        float(model(**batch).loss.detach()), rel=1e-5
    )


def test_nothing_is_computed_behind_what_foretells_the_last_label(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = [random.Random(1).randrange(5, 40_000) for _ in range(40)]
    ends = (3, 7)
    rows = [
        {"input_ids": [*head, *range(7 + i, 17 + i)], "labels": [-100] * 41 + [9] * (end - 1) + [-100] * (10 - end)}
        for i, end in enumerate(ends)
    ]
    batch = DataCollatorForLanguageModeling(pad_token_id=2)(rows)
    model, computed, tree = _qlora.load(train.BASE, params().train), list[int](), _tree.Tree.of

    def counted(*given: Any) -> _tree.Tree:
        computed.append((made := tree(*given)).input_ids.numel())
        return made

    monkeypatch.setattr(_tree.Tree, "of", counted)
    loss = float(_loss.labelled_loss(model, dict(batch)).detach())
    shared = _loss.shared_tokens(batch)
    assert computed == [shared + sum(40 + end - 1 - shared for end in ends)]
    assert loss == pytest.approx(float(model(**batch).loss.detach()), rel=1e-5)


def test_values_kept_dense_are_those_of_nf4(project: Path) -> None:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    from transformers import AutoModelForCausalLM

    tuned = _qlora.load(train.BASE, params().train).get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
    plain = AutoModelForCausalLM.from_pretrained(train.BASE).model.layers[0].mlp.up_proj.weight.data
    packed, state = quantize_4bit(plain, quant_type="nf4", compress_statistics=True)
    assert torch.allclose(tuned.float(), dequantize_4bit(packed, state).float(), atol=1e-3)
    assert not torch.allclose(tuned.float(), plain, atol=1e-4)


def test_a_four_bit_layer_run_in_eval_mode_before_training_raises() -> None:
    from bitsandbytes.nn import Linear4bit

    layer = Linear4bit(64, 64, bias=False, quant_type="nf4").to("cpu")
    layer(torch.zeros(1, 64))
    _model.refuse_repacked(torch.nn.Sequential(layer))
    layer.weight.quant_state.packing_format_for_cpu = True  # what bitsandbytes sets on a CPU with avx512_bf16
    with pytest.raises(Fault, match="eval mode before training"):
        _model.refuse_repacked(torch.nn.Sequential(layer))


def test_every_row_is_trained_on_once_an_epoch_in_batches_that_begin_alike() -> None:
    rng = random.Random(4)
    rows = [
        [7] * 40 + [i % 20] * 8 + [rng.randrange(99, 9999) for _ in range(rng.randrange(50, 400))] for i in range(503)
    ]  # 20 lists
    planned = _order.order(rows, 8, 2, seed=5)
    assert sorted(planned) == sorted([*range(503), *range(503)])
    assert planned == _order.order(rows, 8, 2, seed=5)
    assert planned[:496] != planned[496:992]
    batches = [planned[k : k + 8] for k in range(0, 992, 8)]
    assert sum(len({rows[i][40] for i in batch}) == 1 for batch in batches) >= 110
    assert len(_order.order(rows, 8, 0.5, seed=5)) == round(503 * 0.5)


def test_a_loss_that_is_no_number_stops_with_the_way_out(project: Path) -> None:
    told = _trainer.Steps(lambda step, measured: None, lambda: False)
    state: Any = SimpleNamespace(global_step=7)
    with pytest.raises(Fault, match=r"loss is nan at step 7; lower train.learning_rate"):
        told.on_log(cast(Any, None), state, cast(Any, None), logs={"loss": float("nan"), "learning_rate": 1.0})


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([1.2] * 10 + [7.0] * 10, "the loss rose from 1.20 to 7.00 (means of 10 steps) by step 20"),
        ([4.0] * 10 + [6.9] * 10, None),
        ([1.2] * 10 + [0.3] * 30, None),
        ([1.2] * 10 + [0.3] * 30 + [9.0] * 3, None),  # a few bad steps
        ([1.2] * 5 + [9.0] * 6, None),  # too early to say
        ([1.2] * 10 + [0.3] * 200 + [5.0] * 10, "the loss rose from 1.20 to 5.00"),
    ],
)
def test_a_loss_that_explodes_ends_the_training_with_the_way_out(losses: list[float], told: str | None) -> None:
    if told is None:
        _trainer.refuse_divergence(losses, len(losses))
        return
    with pytest.raises(Fault) as fault:
        _trainer.refuse_divergence(losses, len(losses))
    assert str(fault.value).startswith(told)
    assert "lower train.learning_rate in params.yaml" in str(fault.value)


def test_an_exploding_loss_is_seen_across_an_interruption(project: Path) -> None:
    """What the checkpoint holds of the curve counts too."""
    told = _trainer.Steps(lambda step, measured: None, lambda: False)
    state: Any = SimpleNamespace(global_step=20, log_history=[{"loss": 1.0, "step": i} for i in range(1, 16)])
    told.on_train_begin(cast(Any, None), state, cast(Any, None))
    logs = {"loss": 5.0, "learning_rate": 1.0}
    for _ in range(7):
        told.on_log(cast(Any, None), state, cast(Any, None), logs=logs)
    with pytest.raises(Fault, match=r"the loss rose from 1\.00 to 4\.20"):
        told.on_log(cast(Any, None), state, cast(Any, None), logs=logs)


def test_the_loss_in_parts_as_a_gpu_makes_it_is_that_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fused, "LABELS_AT_ONCE", 8)
    torch.manual_seed(4)
    labels, weights = torch.randint(0, 50, (19,)), torch.rand(19)
    hidden, head = torch.randn(19, 8, requires_grad=True), torch.randn(50, 8)
    parts: Any = _fused._CrossEntropyInParts
    wanted, found = _fused.cross_entropy(hidden, head, labels, weights), parts.apply(hidden, head, labels, weights)
    assert torch.allclose(wanted, found)
    ours, theirs = (torch.autograd.grad(3 * loss, hidden)[0] for loss in (found, wanted))
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_a_step_in_parts_has_the_curve_of_a_step_in_one(project: Path, at_a_time: int) -> None:
    """20 rows in steps of 6: the last step is short, and each part has its share of it."""
    for name, rows in (("whole", 6), ("parts", at_a_time)):
        assert run(params(batch_size=6, rows_at_a_time=rows, decision_weight=4.0), Path(name)) is not None
    assert curve(Path("parts")) == pytest.approx(curve(Path("whole")), rel=3e-5)


def test_a_batch_of_many_processes_is_divided_or_refused() -> None:
    knobs = params(batch_size=16, rows_at_a_time=2).train
    assert _qlora.Split.of(knobs, 4) == _qlora.Split(4, 2, 2)
    assert _qlora.Split.of(knobs, 8) == _qlora.Split(8, 2, 1)
    assert _qlora.Split.of(knobs, 16) == _qlora.Split(16, 1, 1)
    with pytest.raises(Fault, match=r"train\.batch_size is 16, of 3 process\(es\) with rows_at_a_time 2 each"):
        _qlora.Split.of(knobs, 3)


def test_what_cannot_fit_is_refused_before_anything_is_loaded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fits, "machine_memory", lambda: 2**28)
    monkeypatch.setattr(_qlora, "load", lambda *_: pytest.fail("it was loaded"))
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    with pytest.raises(
        Fault, match=r"params\.yaml: 8 rows of \d+ tokens at a time need .* GiB of memory and this machine"
    ):
        train.main()
    assert not Path("checkpoints").exists()


def test_a_gpu_that_params_insist_on_and_is_not_there_is_a_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("profile: auto", "profile: gpu"), encoding="utf-8")
    with pytest.raises(Fault, match=r"train\.profile is 'gpu', and torch finds none here; write auto or cpu"):
        train.here()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_weights_that_are_spread_over_processes_are_gathered_before_they_are_saved() -> None:
    """As FSDP has them, in a group of one."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    plain = torch.nn.ParameterDict({"lora_A": torch.nn.Parameter(torch.randn(4, 2))})
    assert train.gathered(plain) is None
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        spread = torch.nn.ParameterDict(
            {"lora_A": torch.nn.Parameter(distribute_tensor(plain["lora_A"].data, mesh, [Shard(0)]))}
        )
        found = train.gathered(spread)
    finally:
        torch.distributed.destroy_process_group()
    assert found is not None
    assert torch.equal(found["lora_A"], plain["lora_A"])


def test_a_row_without_a_label_is_named(project: Path) -> None:
    rows = [{"id": name, "labels": [-100, label]} for name, label in (("a", 3), ("b", -100), ("c", -100))]
    with pytest.raises(Fault, match=r"train\.jsonl: 2 rows have no labelled token, the first is b; make it again"):
        train.check_rows(rows)
    train.check_rows(rows[:1])


def test_the_key_follows_data_params_and_base(project: Path) -> None:
    before = train.key_of(params())
    assert before == train.key_of(params())
    assert before != train.key_of(params(learning_rate=0.123))
    (train.NATIVE / "dev.jsonl").write_text("", encoding="utf-8")
    after = train.key_of(params())
    assert before != after
    (train.BASE / "config.json").write_text("{}", encoding="utf-8")
    assert after != train.key_of(params())


def test_an_interrupt_ends_with_75(monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        raise _entry.Interrupted

    with pytest.raises(SystemExit) as end:
        _entry.run(main)
    assert end.value.code == 75


def test_no_rows_is_a_sentence(project: Path) -> None:
    (train.NATIVE / "train.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(Fault, match=r"train\.jsonl has no rows; raise generate\.rows"):
        run(params(), Path("work"))


def test_a_nan_in_a_training_ends_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the trainer, which by default logs a NaN as 0."""
    load = _qlora.load

    def with_a_nan(*given: Any) -> Any:
        model = load(*given)
        for name, weight in model.named_parameters():
            if "layers.1" in name and "lora_B" in name:
                torch.nn.init.constant_(weight, float("nan"))
        return model

    monkeypatch.setattr(_qlora, "load", with_a_nan)
    with pytest.raises(Fault, match=r"the loss is nan at step 1; lower train\.learning_rate"):
        run(params(), Path("work"))


def test_the_mirror_is_not_needed(project: Path) -> None:
    with Mirror("0" * 64, "none") as mirror:
        mirror.log(1, {"loss": 1.0})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
def test_on_a_gpu_the_base_stays_in_four_bits(project: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    done = run(params(), Path("work"))
    assert done is not None
    assert any(isinstance(layer, Linear4bit) for layer in done[0].modules())
    assert curve(Path("work"))[-1] < curve(Path("work"))[0]

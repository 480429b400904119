"""The training benchmark: sides take turns on the same work, and what it could not measure is said."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import batching, training, turns, venvs
from benchmarks.peers import llama_factory, trl_stock
from benchmarks.turns import NotMeasured, Turn
from callwright.outs import write_lines
from callwright.params import Train, read_params
from stages import _model, _qlora
from stages._order import order
from tests.tiny import ROOT, make_base

PYTHON = [sys.executable]
CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="sides see no GPU; these compare with what stands here")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def train() -> Train:
    knobs = read_params(ROOT / "params.yaml").train.model_dump(mode="json")
    return Train.model_validate_json(json.dumps(knobs | {"batch_size": 4, "rows_at_a_time": 4, "learning_rate": 0.01}))


def rows(count: int, seed: int = 3) -> list[dict[str, Any]]:
    """Four rows in a row begin alike; answers of several lengths, one row with two of them."""
    rng, found = random.Random(seed), []
    for i in range(count):
        if i % 4 == 0:
            head = [rng.randrange(5, 40_000) for _ in range(40)]
        asked, answered = ([rng.randrange(5, 40_000) for _ in range(rng.randrange(4, 12))] for _ in range(2))
        labels = [-100] * (len(head) + len(asked)) + answered
        found.append({"input_ids": head + asked + answered, "labels": [*labels[:-3], -100, *labels[-2:]]})
    return found


@pytest.fixture
def bench(tmp_path: Path, base: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> training.Bench:
    """As in a project that has run, with a tiny base."""
    monkeypatch.setattr(training, "BASE", base)
    monkeypatch.setattr(training, "ROWS", tmp_path / "train.jsonl")
    write_lines(training.ROWS, rows(32))
    (tmp_path / "bench").mkdir()
    return training.Bench(tmp_path / "bench", train, 512)


def said(code: str, folder: Path, steps: tuple[int, ...]) -> list[Turn]:
    """The turns of a side that is this program."""
    program = folder.with_suffix(".py")
    program.write_text(f"import os\nfrom benchmarks import turns\njob, taken = turns.given()\n{code}", encoding="utf-8")
    with turns.side([*PYTHON, str(program)], {"turns": steps, "word": "開會"}, folder) as it:
        return [it.turn() for _ in steps]


def test_a_side_waits_at_the_end_of_each_turn_and_counts_its_steps(tmp_path: Path) -> None:
    code = "for i in range(5):\n    print('chatter', job['word'])\n    taken.step(i / 2, 10 + i)"
    first, second, third = said(code, tmp_path / "side", (2, 2, 1))
    assert (first.losses, second.losses, third.losses) == ([0.0, 0.5], [1.0, 1.5], [2.0])
    assert (first.tokens, second.tokens, third.tokens) == (21, 25, 14)
    assert 0 < second.seconds < 10
    assert second.rate == 25 / second.seconds
    assert sys.platform != "linux" or 5 << 20 < third.peak < 200 << 20
    assert (tmp_path / "side" / "log.txt").read_text(encoding="utf-8").count("chatter 開會") == 5


def test_a_side_knows_no_key_of_ours_and_asks_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_API_KEY", "secret")
    code = "taken.step(float('TEACHER_API_KEY' in os.environ), int(os.environ['HF_HUB_OFFLINE']))"
    [turn] = said(code, tmp_path / "side", (1,))
    assert (turn.losses, turn.tokens) == ([0.0], 1)


def test_a_side_that_ends_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match=r"^it ended with 1: MemoryError: no room for it$"):
        said("taken.step(1, 1)\nraise MemoryError('no room for it')", tmp_path / "a", (1, 1))
    with pytest.raises(NotMeasured, match=r"^it ended with 0: it said nothing$"):
        said("", tmp_path / "b", (1,))


def test_few_batches_stand_for_all() -> None:
    assert turns.spread(range(100), 4) == [12, 37, 62, 87]
    assert turns.spread("abc", 3) == ["a", "b", "c"]
    assert turns.cut("abcde", 2) == ["ab", "cd", "e"]


def test_a_venv_that_cannot_be_made_is_no_failure_of_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NotMeasured, match=r"^nothing==1 could not be installed \(\)$"):
        venvs.installed(tmp_path / "peer", ["nothing==1"], "2 GB")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(NotMeasured, match=r"^nothing==1 could not be installed \(.*No such file"):
        venvs.installed(tmp_path / "peer", ["nothing==1"], "2 GB")
    assert "with nothing==1: 2 GB, some minutes" in capsys.readouterr().err
    assert not (tmp_path / "peer").exists()


def test_a_venv_is_kept_while_it_holds_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    (tmp_path / "installed.txt").write_text("a==1 b==2", encoding="utf-8")
    assert venvs.installed(tmp_path, ["a==1", "b==2"], "") == python
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NotMeasured, match=r"a==1 b==3 could not be installed"):
        venvs.installed(tmp_path, ["a==1", "b==3"], "")
    assert not python.exists()


@CUDA
def test_stock_trl_and_ours_have_one_loss_curve_on_the_same_batches(bench: training.Bench) -> None:
    """Real processes, NF4 and the train stage's own code, in float32; TRL is who we are held against."""
    job = bench.job((1, 2), batches="given", number="float32", **training.PLAIN)
    found = bench.pair("same", job, training.TRL)
    assert [turn.tokens for turn in found.ours] == [turn.tokens for turn in found.theirs]
    assert len(training.curve(found.ours)) == 3
    assert found.apart < 1e-5
    assert abs(training.curve(found.ours)[0] - training.curve(found.ours)[-1]) > 0.01  # it has learnt in between


@CUDA
def test_peers_train_with_the_hyperparameters_of_the_stage(bench: training.Bench, tmp_path: Path) -> None:
    job = bench.job((2, 4, 4), batches="given", **training.PLAIN)
    ours = _qlora.arguments(Train.model_validate_json(json.dumps(job["train"])), tmp_path, 10)
    theirs, named = trl_stock.arguments(job), llama_factory.settings(job)
    for name in (
        "max_steps",
        "per_device_train_batch_size",
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "lr_scheduler_kwargs",
        "weight_decay",
        "max_grad_norm",
        "optim",
        "seed",
        "gradient_checkpointing",
    ):
        assert getattr(theirs, name) == getattr(ours, name), name
    for name in ("max_steps", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "optim", "seed"):
        assert named[name] == getattr(ours, name), name
    assert json.loads(named["lr_scheduler_kwargs"]) == ours.lr_scheduler_kwargs
    assert (named["lora_rank"], named["quantization_type"]) == (job["train"]["lora"]["rank"], "nf4")
    assert theirs.max_length == named["cutoff_len"] == 512


def test_both_sides_get_the_same_whole_batches(bench: training.Bench, train: Train) -> None:
    job = bench.job((1, 2))
    given = [json.loads(line) for line in Path(job["rows"]).read_text(encoding="utf-8").splitlines()]
    assert len(given) == 3 * 4
    assert job["order"] == order([row["input_ids"] for row in given], 4, 1, train.seed)
    for batch in turns.cut([given[i] for i in job["order"]], 4):
        assert len({tuple(row["input_ids"][:40]) for row in batch}) == 1  # each has a beginning in common
    theirs = llama_factory.rows(Path(job["rows"]))
    assert [row["labels"] for row in theirs] == [row["labels"] for row in given]
    assert theirs[0]["attention_mask"] == [1] * len(given[0]["input_ids"])


def test_the_exact_curve_is_of_fewer_and_shorter_rows(bench: training.Bench) -> None:
    short = bench.job((2, 2), short=True, batch_size=2, number="float32")
    lengths = [len(json.loads(line)["input_ids"]) for line in Path(short["rows"]).read_text().splitlines()]
    whole = [len(row["input_ids"]) for row in bench.rows]
    assert len(lengths) == 8
    assert sum(lengths) / len(lengths) < sum(whole) / len(whole)
    assert (short["train"]["batch_size"], short["train"]["rows_at_a_time"], short["number"]) == (2, 2, "float32")


@CUDA
def test_whatever_the_batches_are_made_of_the_loss_and_its_gradients_are_the_same(
    base: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_model, "number_format", lambda: torch.float32)
    model, found = _qlora.load(base, train).train(), {}
    with torch.no_grad():  # as LoRA starts, half of the gradients are zero
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.01)
    for way, batches in batching.plans(rows(4), train, 2, 512).items():
        [batch] = batches
        assert batching.real_tokens(batch) == sum(len(row["input_ids"]) for row in rows(4))
        loss = batching.loss_of(way, model, batch, 4.0)
        loss.backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found[way] = (float(loss.detach()), torch.cat([each.flatten() for each in gradients]))
        model.zero_grad()
    assert tuple(found) == batching.WAYS
    for loss, gradient in found.values():
        assert loss == pytest.approx(found["by length"][0], abs=1e-5)
        assert torch.allclose(gradient, found["by length"][1], atol=1e-6)


def test_every_row_is_in_each_way_once_and_a_step_has_about_as_many_tokens(train: Train) -> None:
    some = rows(64)
    made = batching.plans(some, train, 2, 128)
    total = sum(len(row["input_ids"]) for row in some)
    assert {way: sum(map(batching.real_tokens, batches)) for way, batches in made.items()} == dict.fromkeys(
        batching.WAYS, total
    )
    assert len(made["by length"]) == len(made["alike"]) == 16
    assert 10 < len(made["packed"]) < 22


def turn(rate: float, *losses: float, peak: int = 0) -> Turn:
    return Turn(2.0, round(rate * 2), list(losses), peak)


def test_a_ratio_is_the_median_of_the_turns_and_the_warm_up_is_none_of_them() -> None:
    ours = [turn(10, 2.0), turn(300, 1.5), turn(800, 1.25), turn(900, 1.0, peak=512 << 20)]
    theirs = [turn(90, 2.0), turn(100, 1.5), turn(100, 1.0), turn(300, 1.0, peak=2048 << 20)]
    found = training.Pair(ours, theirs)
    assert found.times == 3
    assert found.apart == 0.25
    assert list(found.lines("own batches", "TRL", "both so")) == [
        "  own batches          800 tokens/s, 3.00 times TRL (100); both so",
        "                       peak memory 512 MiB, 0.25 times theirs (2,048 MiB)",
    ]
    assert len(list(training.Pair(ours[:3], theirs[:3]).lines("own batches", "TRL", ""))) == 1  # no /proc, no memory


def test_what_cannot_be_measured_is_said_and_the_others_go_on(
    bench: training.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pair(name: str, job: dict[str, Any], theirs: list[str]) -> training.Pair:
        if name == "curves in float32":
            raise NotMeasured("it ended with 9: no room")
        steps = [turn(800, *[1.0] * count) for count in job["turns"]]
        return training.Pair(steps, [turn(200, *[1.001] * count) for count in job["turns"]])

    def no_venv(*_: Any) -> Path:
        raise NotMeasured("llamafactory==0.9.5 could not be installed (no network)")

    monkeypatch.setattr(bench, "pair", pair)
    monkeypatch.setattr(bench, "ways", lambda: iter(["  ways to batch"]))
    monkeypatch.setattr(training, "installed", no_venv)
    monkeypatch.setattr(training, "product_speed", lambda _: 4e-9 * 1000 * training.parameters_of(bench_weights()))
    lines = list(bench.measure())
    text = "\n".join(lines)
    assert "own batches          800 tokens/s, 4.00 times stock TRL (200); ours as params.yaml says (soap, int8" in text
    assert "llama factory        not measured: llamafactory==0.9.5 could not be installed (no network)" in text
    assert "losses of 10 steps at most 1.0e-03 apart" in text
    assert "loss curves          not measured: it ended with 9: no room" in text
    assert "allow 1,000 tokens/s at 4 FLOPs" in text
    assert "ours 80% of it, 50% of 1,600" in text
    assert lines[-1] == "  ways to batch"


def test_rounding_is_told_beside_what_it_does_to_each_curve(
    bench: training.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {"float32": (2.0, 2.00001), "bfloat16": (2.002, 1.997)}

    def pair(name: str, job: dict[str, Any], theirs: list[str]) -> training.Pair:
        assert (len(job["order"]), job["train"]["optimizer"], job["batches"]) == (2 * 22, "adamw", "given")
        ours, trl = losses[job["number"]]
        return training.Pair([turn(100, ours)], [turn(100, trl)])

    monkeypatch.setattr(bench, "pair", pair)
    monkeypatch.setattr(bench, "number", "bfloat16")
    exact, rounded = bench.loss_curves()
    assert "at most 1.0e-05 from stock TRL's in float32" in exact
    assert (
        "at most 5.0e-03 in bfloat16, where rounding alone moves ours by 2.0e-03 and stock TRL's by 3.0e-03" in rounded
    )
    monkeypatch.setattr(bench, "number", "float32")
    assert list(bench.loss_curves()) == [exact]


def bench_weights() -> Path:
    return training.BASE / "model.safetensors"


def test_parameters_are_counted_once_where_head_and_embeddings_are_one(base: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    assert training.parameters_of(base / "model.safetensors") == model.num_parameters()


def test_before_anything_has_run_the_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(training.measure()) == [
        "training               not measured: nothing has run yet; make run, then make bench"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_product_that_cannot_be_made_is_told() -> None:
    with pytest.raises(
        NotMeasured, match=r"(?s)benchmarks\.products no_number ended with 1: .*has no attribute 'no_number'"
    ):
        training.product_speed("no_number")

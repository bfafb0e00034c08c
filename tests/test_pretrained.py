"""Published models: what a file holds, parity of half and full precision, refusals, cards, and training from one."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import ttest_1samp
from torch.nn import functional as F

import reidlib as rl
from reidlib import files
from reidlib.provenance import identity
from reidlib.runs import measuring
from reidlib.runs import publish as publishing
from reidlib.runs.publish import main, publish
from reidlib.systems.backbones import trunk
from reidlib.systems.weights import read_tensors
from reidlib.train import pretrained as reading

PAGE = rl.project() / "docs" / "pretrained.md"
SHIPPED = sorted(files.WEIGHTS.glob("*.safetensors"))
TERMS = "nobody but this test"
SMALL = dict(height=32, width=16, p=3, k=2, iterations=2, epochs=3, precision="float32", backbone="trunks:small")
MODELS = {
    "bag of tricks": rl.Recipe.for_dataset("toy", **SMALL),
    "center loss and GeM": rl.Recipe.for_dataset("toy", tricks="all+center+gem", **SMALL),
    "without BNNeck": rl.Recipe.for_dataset("toy", tricks="all-bnneck", **SMALL),
    "PCB, refined": rl.Recipe.for_dataset("toy", model="pcb", tricks="all+rpp", rpp_epochs=(1, 1), parts=2, **SMALL),
    "AlignGAN": rl.Recipe.for_dataset(
        "toy-sysu", model="aligngan", phases=(1, 1), gan_size=(32, 16), gan_channels=4, gan_p=2, **SMALL
    ),
}


def finished(split, recipe, run):
    """A run with its result, on `split`."""
    rows = list(rl.fit(rl.build(recipe, split.train, "cpu"), split.train, run))
    system = rl.restore(run, device="cpu")
    rl.write_result(run, system, rows, {split.name: rl.measure(system, split, run)})
    return run


@pytest.fixture
def run(crowd, tiny, tmp_path):
    return finished(crowd, tiny, tmp_path / "run")


@pytest.fixture
def file(run, tmp_path):
    return publish([run], "six", tmp_path / "out", TERMS)[0]


def moved(recipe):
    """A system whose every number was moved, as by training, in its last phase."""
    system = rl.build(recipe, np.arange(5), "cpu")
    system.begin_epoch(recipe.epochs - 1)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in system.state_dict().items():
            if torch.is_tensor(value) and value.is_floating_point():
                value.mul_(1 + 0.2 * torch.rand(value.shape, generator=rng))
                value.add_(0.02 * torch.rand(value.shape, generator=rng) if "var" in name else 0)
    return system


@pytest.fixture
def halving(monkeypatch):
    """The convolutions of networks as small as these are stored in half precision too."""
    monkeypatch.setattr(publishing, "SMALL", 200)


@pytest.mark.usefixtures("halving")
@pytest.mark.parametrize("model", MODELS)
def test_every_system_embeds_the_same_in_half_precision_without_its_classifier(model):
    full = moved(MODELS[model])
    tensors = publishing._halved(full)
    half = reading.assembled(full.recipe, tensors, "cpu")
    images = torch.rand(8, 3, 32, 16, generator=torch.Generator().manual_seed(2))
    # rounding to 11 bits moves each weight by at most 5e-4 of itself, the sum of many of them by less
    assert F.cosine_similarity(full.embed(images), half.embed(images)).min() >= 0.9999
    assert half.ids.numel() == 0
    assert not half.training
    assert not any(5 in value.shape for value in tensors.values()), "nothing has a size of the five identities"
    half_of_them = [name for name, value in tensors.items() if value.dtype == torch.float16]
    assert half_of_them == [name for name, value in tensors.items() if value.numel() > 200]
    assert half_of_them
    if model == "AlignGAN":
        generated = [system.to_infrared(images).flatten(1) for system in (full, half)]
        assert F.cosine_similarity(*generated).min() > 0.999
    if model == "PCB, refined":
        assert half.refined


def test_a_number_too_large_for_half_precision_is_kept_in_full(tiny, monkeypatch):
    monkeypatch.setattr(publishing, "SMALL", 0)
    system = rl.build(tiny, np.arange(5), "cpu")
    system.bnneck.running_var[3] = 1e6
    tensors = publishing._halved(system)
    assert tensors["bnneck.running_var"].dtype == torch.float32
    assert tensors["bnneck.running_mean"].dtype == torch.float16


@pytest.mark.parametrize(("small", "least"), [(0, -1), (publishing.SMALL, 0.9999)])
def test_channels_that_vary_little_about_a_large_mean_keep_their_embedding(tiny, monkeypatch, small, least):
    """Guards: a MobileNetV2 trained on people lost 1e-3 of its cosines where every tensor was rounded."""
    monkeypatch.setattr(publishing, "SMALL", small)
    full = rl.build(tiny, np.arange(5), "cpu")
    images = torch.rand(8, 3, 32, 16, generator=torch.Generator().manual_seed(2))
    full.eval()
    with torch.no_grad():
        full.trunk.net[4].bias += 100 + torch.rand(16, generator=torch.Generator().manual_seed(3))
        full.bnneck.running_mean.copy_(full.trunk(images).mean(0))
    half = reading.assembled(full.recipe, publishing._halved(full), "cpu")
    cosine = F.cosine_similarity(full.embed(images), half.embed(images)).min()
    assert cosine >= least
    assert small or cosine < 0.99


def test_the_network_of_the_shipped_model_fits_five_megabytes_and_embeds_the_same():
    full = moved(rl.Recipe.for_dataset("market", preset="laptop", weights="none"))
    tensors = publishing._halved(full)
    assert sum(value.nbytes for value in tensors.values()) < 5e6
    assert 0.9999 <= publishing._cosine(full, tensors) < 1


@pytest.mark.usefixtures("halving")
def test_the_scores_of_a_published_model_are_those_of_the_run(run, file, crowd, tmp_path):
    """Rank-1 to the digit; mAP of these six queries within 0.001 (measured: equal), as no two similarities swap."""
    full, half = rl.restore(run, device="cpu"), rl.pretrained(file, "cpu")
    before, after = rl.measure(full, crowd, run), rl.measure(half, crowd, tmp_path / "half")
    assert after.rank(1) == before.rank(1)
    assert after.mAP == pytest.approx(before.mAP, abs=1e-3)
    cosine = F.cosine_similarity(rl.embed(full, crowd.gallery), rl.embed(half, crowd.gallery))
    assert 0.9999 <= cosine.min() < 1, "another model than the full one, and hardly"


def test_it_is_measured_browsed_and_explained_like_a_run(file, crowd, tmp_path, monkeypatch):
    system = rl.pretrained(file, "cpu")
    scores = rl.measure(system, crowd, tmp_path / "half")
    assert rl.RankedBrowser(scores, system=system).view["lists"][0]["cards"]
    assert len(rl.similarity_maps(system, crowd.query.files()[0], crowd.gallery.files()[0])) == 2
    assert rl.embed(system, crowd.query.files()[0]).shape == (1, 16)
    monkeypatch.setattr(measuring, "embed", None)
    again = rl.measure(rl.restore(file, device="cpu"), crowd, tmp_path / "half")
    assert again.mAP == scores.mAP, "the kept embeddings belong to the weights, however they are read"


def test_its_recipe_is_that_of_the_run_without_folders_of_this_machine(crowd, tmp_path):
    recipe = rl.Recipe.for_dataset(str(tmp_path / "crowd"), **SMALL, weights="none")
    run = finished(crowd, recipe, tmp_path / "run")
    file, card = publish([run], "six", tmp_path, TERMS)
    assert rl.pretrained(file, "cpu").recipe == recipe.replace(dataset="crowd")
    assert str(tmp_path).encode() not in file.read_bytes() + card.read_bytes()


def test_the_file_is_the_same_bytes_each_time(run, file, tmp_path):
    (again, _) = publish([run], "six", tmp_path / "again", TERMS)
    assert again.read_bytes() == file.read_bytes()


def test_it_is_for_embedding_and_refuses_to_train(file, crowd):
    system = rl.pretrained(file, "cpu")
    with pytest.raises(ValueError, match="trained or restored before"):
        next(rl.fit(system, crowd.train, file.parent / "run"))
    with pytest.raises(ValueError, match=r"no classifier; rl.build\(recipe.replace\(weights=FILE\)"):
        system.step(torch.zeros(2, 3, 32, 16), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("model", ["bag of tricks", "center loss and GeM", "PCB, refined"])
def test_training_starts_from_a_published_file(model, run, file):
    recipe = MODELS[model].replace(weights=str(file))
    system, published = rl.build(recipe, np.arange(5), "cpu"), rl.pretrained(file, "cpu")
    convolutions = [value for name, value in published.trunk.state_dict().items() if value.ndim == 4]
    started = [value for name, value in system.trunk.state_dict().items() if value.ndim == 4]
    assert all(map(torch.equal, started, convolutions))
    assert len(convolutions) == 2


def test_training_starts_from_torchvisions_naming_and_belongs_to_the_bytes(tmp_path):
    file, digests = tmp_path / "net.safetensors", set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = rl.trunk("slim")
        save_file(net.state_dict() | {"fc.weight": torch.zeros(10, 192)}, file)
        loaded = rl.trunk("slim", str(file))
        assert torch.equal(loaded.conv1.weight, net.conv1.weight)
        recipe = rl.Recipe.for_dataset("toy", backbone="slim", weights=str(file))
        digests.add(identity(recipe, None)["weights"])
    assert len(digests) == 2


def test_an_unknown_name_is_answered_with_those_there_are(run, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "WEIGHTS", tmp_path / "shelf")
    with pytest.raises(ValueError, match="no model 'six'; choose one of none, or give the path"):
        rl.pretrained("six")
    publish([run], "six", tmp_path / "shelf", TERMS)
    assert rl.pretrained("six", "cpu").recipe.backbone == "trunks:small"
    with pytest.raises(ValueError, match="no model 'seven'; choose one of six, or give the path"):
        rl.pretrained("seven")


def test_what_is_no_sound_file_is_refused_by_name(file, tmp_path):
    whole = file.read_bytes()
    tensors, header = read_tensors(file)
    newer = {"reidlib": json.dumps(json.loads(header["reidlib"]) | {"format": 2})}
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    wrong = {
        "cut off": (whole[: len(whole) // 2], "no safetensors file, or it is cut off"),
        "empty": (b"", "no safetensors file, or it is cut off"),
        "a pickle": (next((tmp_path / "run" / "checkpoints").iterdir()).read_bytes(), "no safetensors file"),
        "one bit": (bytes(flipped), "is damaged: its content does not match its digest"),
        "another header": (whole.replace(b"float32", b"float31", 1), "is damaged"),
        "a backbone": (publishing.save(tensors), "was not made by python -m reidlib.publish"),
        "newer": (publishing.save(tensors, newer), "is of format 2 and this reidlib reads 1: install a newer one"),
    }
    for name, (content, message) in wrong.items():
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=rf"x\.safetensors.*{message}"):
            pytest.fail(f"{name} was read: {rl.pretrained(tmp_path / 'x.safetensors')}")
        if "damaged" in message:  # also where it is to begin a training
            with pytest.raises(ValueError, match=message):
                trunk("slim", weights=str(tmp_path / "x.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors"):
        rl.pretrained(tmp_path / "gone.safetensors")
    with pytest.raises(ValueError, match=r"six\.safetensors holds the model of one epoch; leave epoch=3 out"):
        rl.restore(file, epoch=3)


def test_a_model_out_of_reach_and_tensors_that_do_not_fit_are_named(file, monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "trunks", None)
        with pytest.raises(ValueError, match=r"six\.safetensors: no backbone 'trunks:small'.*PYTHONPATH"):
            rl.pretrained(file)
    import trunks

    monkeypatch.setattr(trunks, "small", trunks.wide)  # the code of the backbone was changed
    with pytest.raises(ValueError, match=r"six\.safetensors: \d+ tensors do not fit .*'trunk\.net\.0\.weight'"):
        rl.pretrained(file)


def test_what_cannot_be_published_is_refused_before_anything_is_written(run, crowd, tiny, tmp_path):
    other = finished(crowd, tiny.replace(lr=1e-3, seed=2), tmp_path / "other")
    flipped, kept = (shutil.copytree(run, tmp_path / name) for name in ("flipped", "kept"))
    for folder, rule in ((flipped, {"flip": "on"}), (kept, {"same_camera": "keep"})):
        result = json.loads((folder / "result.json").read_text())
        result["scores"]["crowd"] |= rule
        result["recipe"]["seed"] = 2
        (folder / "result.json").write_text(json.dumps(result))
    out = tmp_path / "out"
    (tmp_path / "begun").mkdir()
    (out / "old").mkdir(parents=True)
    (out / "old" / "six.md").touch()
    for runs, name, folder, message in (
        ([tmp_path / "begun"], "six", out, "begun: no result.json; the run is not finished"),
        ([run, other], "six", out, "other: lr is 0.001, 0.002 in the first run"),
        ([run, run], "six", out, "two have one seed"),
        ([run, flipped], "six", out, "flipped: crowd, flip is 'on', 'off' in the first run"),
        ([run, kept], "six", out, "kept: crowd, same_camera is 'keep', None in the first run"),
        ([run], "a/b", out, "name 'a/b': write letters"),
        ([run], "six", out / "old", "six.md exists; delete it, or choose another name"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            publish(runs, name, folder, TERMS)
    assert [path.name for path in out.rglob("*.*")] == ["six.md"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_published(tiny, value):
    system = rl.build(tiny, np.arange(5), "cpu")
    system.bnneck.running_mean[0] = value
    with pytest.raises(ValueError, match=r"'bnneck\.running_mean' holds NaN or infinity"):
        publishing._halved(system)


def test_a_model_that_half_precision_changes_is_not_published(tiny):
    system = rl.build(tiny, np.arange(5), "cpu")
    with pytest.raises(ValueError, match="half precision changes the embeddings"):
        publishing._cosine(system, {name: value.sign() for name, value in publishing._halved(system).items()})


def test_the_card_has_the_scores_of_the_model_and_their_spread_over_seeds(crowd, tiny, tmp_path, capsys):
    runs = [finished(crowd, tiny.replace(seed=seed, lr=1e-2), tmp_path / f"run{seed}") for seed in (1, 2, 3)]
    (tmp_path / "people.md").write_text("Six coloured rectangles.\n")
    words = ["--name", "six", "--out", str(tmp_path), "--licence", TERMS, "--about", str(tmp_path / "people.md")]
    main([*map(str, runs), *words])
    card = (tmp_path / "six.md").read_text()
    assert card in capsys.readouterr().out
    values = [rl.collect(run)[0]["mAP"] for run in runs]
    interval = ttest_1samp(values, 0).confidence_interval(0.95)
    (line,) = (line for line in card.splitlines() if line.startswith("| crowd |"))
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[5] == f"{values[0]:.1f}"
    assert cells[8] == f"{np.mean(values):.1f} ± {(interval.high - interval.low) / 2:.1f}"
    assert len(set(values)) > 1
    for part in (TERMS, "Six coloured rectangles.", "lr 0.01", f"# {'six'}\n"):
        assert part in card
    assert not re.search(r"\{|\}", card), "a word of the template is left"


def test_the_command_ends_with_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--name", "six", "--licence", TERMS])
    assert ended.value.code == 2
    assert "no result.json; the run is not finished" in capsys.readouterr().err
    (tmp_path / "about.md").write_bytes("Ränder".encode("latin-1"))
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--name", "six", "--licence", TERMS, "--about", str(tmp_path / "about.md")])
    assert f"--about {tmp_path / 'about.md'} is no text in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_model_is_sound_small_and_has_a_card_with_its_scores(file):
    system = rl.pretrained(file.stem, "cpu")
    said = json.loads(read_tensors(file)[1]["reidlib"])
    card = file.with_suffix(".md").read_text()
    assert file.stat().st_size < 6e6
    assert card.startswith(f"# {file.stem}\n")
    for name, scores in said["scores"][str(system.recipe.seed)].items():
        assert f"| {name} | {scores['queries']:,} | off | {scores['rank1']:.1f} | {scores['mAP']:.1f} |" in card
    assert said["identities"] not in {size for value in load_file(file).values() for size in value.shape}
    assert "/" not in system.recipe.weights
    assert F.normalize(rl.embed(system, np.zeros((64, 32, 3), np.uint8))).isfinite().all()


def test_the_page_prints_what_it_shows(crowd, tmp_path, monkeypatch, capsys):
    """With a model of a moment's training in place of the shipped one, and six people as the shop."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "WEIGHTS", tmp_path / "shelf")
    quick = dict(height=32, width=16, pad=2, p=3, k=2, iterations=1, epochs=1, weights="none")
    recipe = rl.Recipe.for_dataset("toy", preset="laptop", **quick)
    publish([finished(crowd, recipe, tmp_path / "run")], "market-laptop", files.WEIGHTS, TERMS)
    shutil.copytree("crowd", "shop")
    for name, image in zip(("door", "till"), crowd.query.files()):
        shutil.copy(image, f"{name}.png")
    blocks = re.findall(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", PAGE.read_text(), re.S)
    assert len(blocks) == 5
    names = {}
    capsys.readouterr()
    for code, shown in blocks:
        exec(code, names)
        printed = capsys.readouterr().out
        assert printed == shown or not shown, code
    assert rl.pretrained("models/shop.safetensors", "cpu").recipe.weights == "market-laptop.safetensors"

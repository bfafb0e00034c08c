"""Presets, tricks and overrides: what a recipe says, and what it refuses."""

import json
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pytest

import reidlib as rl
from reidlib.recipe import Recipe

FACTS = {  # REFERENCE A.1: the reference implementation's own numbers
    "height": 256, "width": 128, "resize": "bicubic", "pad": 10, "flip": 0.5, "erasing": 0.5,
    "erasing_area": (0.02, 0.4), "erasing_ratio": 0.3, "erasing_fill": (0.485, 0.456, 0.406),
    "p": 16, "k": 4, "order": "identity", "iterations": 200, "epochs": 120, "checkpoint_every": 40,
    "backbone": "resnet50", "weights": "imagenet", "last_stride": 1, "stem_relu": False, "bnneck": True,
    "label_smoothing": 0.1, "margin": 0.3, "center_weight": 0.0, "lr": 3.5e-4, "weight_decay": 5e-4,
    "warmup_epochs": 10, "warmup_start": 0.01, "milestones": (40, 70), "gamma": 0.1, "first_epoch": 0,
}  # fmt: skip
OFF = {  # what a trick's field is without it: the standard baseline of the paper's code
    "warmup": {"warmup_epochs": 0},
    "erasing": {"erasing": 0.0},
    "smoothing": {"label_smoothing": 0.0},
    "stride": {"last_stride": 2},
    "bnneck": {"bnneck": False},
}
CENTER = {"center_weight": 5e-4}
PCB = {  # REFERENCE C.1: where the same author's PCB differs
    "model": "pcb", "height": 384, "width": 192, "pad": 0, "misalign": 0.5, "p": 18, "stem_relu": True, "bnneck": False,
    "label_smoothing": 0.0, "lr": 0.5, "warmup_epochs": 0, "milestones": (50, 80, 100),
    "checkpoint_every": 35,
}  # fmt: skip
CROSS = {"order": "modality", "p": 8, "k": 8}  # REFERENCE C.3: a Bag of Tricks of two modalities, 8 x (4 + 4) images
ALIGNGAN = {  # REFERENCE C.2: where AlignGAN differs from that; its rate drops after 50 of its joint epochs
    "model": "aligngan", "height": 384, "width": 192, "pad": 0, "erasing": 0.0, "p": 18, "iterations": 100,
    "epochs": 50 + 100 + 100, "checkpoint_every": 50, "stem_relu": True, "bnneck": False, "label_smoothing": 0.0,
    "margin": 1.0, "lr": 0.2, "warmup_epochs": 0, "milestones": (50 + 100 + 50,),
}  # fmt: skip


def market(**choices) -> Recipe:
    return Recipe.for_dataset("market", **choices)


def changes(recipe: Recipe, other: Recipe) -> dict:
    """The fields in which `recipe` differs from `other`, with its own values."""
    names = [f.name for f in fields(Recipe)]  # those that all models share
    return {name: getattr(recipe, name) for name in names if getattr(recipe, name) != getattr(other, name)}


def off(*names: str) -> dict:
    return {field: value for name in names for field, value in OFF[name].items()}


@pytest.mark.parametrize("dataset", ["market", "duke", "msmt17", "../my images"])
def test_the_reference_preset_says_what_the_reference_implementation_does(dataset):
    """Guards: every number of the recipe, on every real data set alike."""
    recipe = Recipe.for_dataset(dataset)
    assert {name: getattr(recipe, name) for name in FACTS} == FACTS
    assert (recipe.dataset, recipe.preset, recipe.tricks, recipe.seed) == (dataset, "reference", "all", 1)


@pytest.mark.parametrize("dataset", ["market", "duke"])
def test_the_paper_preset_differs_exactly_where_the_papers_code_does(dataset):
    """Guards: bilinear resize, passes in proportion to images, an epoch is a pass, the schedule one epoch ahead."""
    paper, reference = Recipe.for_dataset(dataset, "paper"), Recipe.for_dataset(dataset)
    expected = {"preset": "paper", "resize": "bilinear", "order": "image", "iterations": None, "first_epoch": 1}
    assert changes(paper, reference) == expected


@pytest.mark.parametrize("dataset", ["market", "duke"])
def test_the_fixed_preset_adds_the_stem_relu_and_a_true_mean_fill(dataset):
    """Guards: the ReLU after the stem that both codes leave out, and erased pixels that are the data's mean."""
    fixed, reference = Recipe.for_dataset(dataset, "fixed"), Recipe.for_dataset(dataset)
    assert changes(fixed, reference) == {"preset": "fixed", "stem_relu": True, "erasing_fill": (0.0, 0.0, 0.0)}


@pytest.mark.parametrize("dataset", ["toy", "toy-duke"])
def test_toy_is_the_same_recipe_on_fewer_and_smaller_images(dataset):
    sizes = {
        "height", "width", "pad", "p", "k", "iterations", "epochs", "checkpoint_every",
        "warmup_epochs", "milestones", "backbone", "weights", "dataset", "lr",
    }  # fmt: skip
    toy = Recipe.for_dataset(dataset)
    assert set(changes(toy, market())) <= sizes
    assert toy.weights == "none"
    assert toy.height * toy.width < 256 * 128
    assert max(toy.milestones) < toy.epochs


@pytest.mark.parametrize("preset", ["reference", "paper", "fixed"])
@pytest.mark.parametrize(
    ("tricks", "expected"),
    [
        ("all", {}),
        ("all+center", CENTER),
        ("all-erasing", off("erasing")),
        ("all-erasing-warmup", off("erasing", "warmup")),
        ("all-stride+center", off("stride") | CENTER),
        ("none", off(*OFF)),
        ("none+warmup", off("erasing", "smoothing", "stride", "bnneck")),
        ("none+warmup+erasing+smoothing+stride+bnneck", {}),
        ("none+warmup+erasing+smoothing+stride+bnneck+center", CENTER),
    ],
)
def test_a_word_of_the_tricks_grammar_sets_the_tricks_fields_and_no_other(preset, tricks, expected):
    assert changes(market(preset=preset, tricks=tricks), market(preset=preset, tricks="all")) == (
        expected | ({"tricks": tricks} if tricks != "all" else {})
    )


@pytest.mark.parametrize("name", OFF)
def test_leaving_a_trick_out_and_adding_it_in_are_two_ways_to_one_recipe(name):
    others = "".join(f"+{other}" for other in OFF if other != name)
    assert set(changes(market(tricks=f"all-{name}"), market(tricks=f"none{others}"))) == {"tricks"}


def test_a_toy_keeps_its_own_warm_up_with_the_trick_and_has_none_without():
    assert 0 < Recipe.for_dataset("toy").warmup_epochs < Recipe.for_dataset("toy").epochs
    assert Recipe.for_dataset("toy", tricks="all-warmup").warmup_epochs == 0


@pytest.mark.parametrize("tricks", ["", "al", "all+erasin", "none+", "all erasing", "erasing", "all--erasing"])
def test_a_word_outside_the_grammar_is_refused_with_the_names_there_are(tricks):
    with pytest.raises(ValueError, match="warmup, erasing, smoothing, stride, bnneck, center") as error:
        market(tricks=tricks)
    assert repr(tricks) in str(error.value)
    assert "all" in str(error.value)
    assert "none" in str(error.value)


@pytest.mark.parametrize("tricks", ["all+warmup", "none-erasing", "all-center", "all-erasing-erasing"])
def test_a_change_that_changes_nothing_is_refused(tricks):
    """Else one run would stand in a table under two names."""
    with pytest.raises(ValueError, match=r"already"):
        market(tricks=tricks)


def test_an_unknown_preset_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"'papre'.*reference, paper, fixed"):
        market(preset="papre")


def test_an_unknown_override_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"'epoch'.*epochs"):
        market(epoch=3)


def test_an_override_of_none_means_what_the_recipe_says():
    """A notebook hands all its parameters over; those left at None must not undo the data set's values."""
    names = [f.name for f in fields(Recipe) if f.name not in ("dataset", "preset", "tricks", "seed")]
    for dataset in ("market", "toy"):
        assert Recipe.for_dataset(dataset, **dict.fromkeys(names)) == Recipe.for_dataset(dataset)


def test_an_override_wins_over_data_set_preset_and_tricks():
    recipe = Recipe.for_dataset("toy", "paper", "all-erasing", seed=7, epochs=3, resize="bicubic", erasing=0.25)
    assert (recipe.epochs, recipe.resize, recipe.erasing, recipe.seed) == (3, "bicubic", 0.25, 7)
    assert market(tricks="none", warmup_epochs=5).warmup_epochs == 5
    assert market(flip=0.0).flip == 0  # zero is a value, not a None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resize", "nearest"), ("order", "random"), ("precision", "fp8"), ("last_stride", 3), ("first_epoch", 2),
        ("height", 0), ("p", 1), ("k", 0), ("iterations", 0), ("epochs", 0), ("checkpoint_every", 0), ("pad", -1),
        ("flip", 1.5), ("erasing", -0.1), ("label_smoothing", 2.0), ("lr", 0.0), ("lr", -1e-3), ("warmup_epochs", -1),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused_by_name_and_value(field, value):
    with pytest.raises(ValueError, match=field) as error:
        market(**{field: value})
    assert str(value) in str(error.value)


def test_a_recipe_cannot_be_changed():
    recipe = market()
    with pytest.raises(FrozenInstanceError):
        recipe.lr = 1.0
    assert hash(recipe) == hash(market())  # so it may key a dict: no list hides in it


@pytest.mark.parametrize("preset", ["reference", "paper", "fixed"])
@pytest.mark.parametrize("dataset", ["market", "toy"])
def test_a_recipe_comes_back_from_json_as_it_went(dataset, preset):
    recipe = Recipe.for_dataset(dataset, preset, "all-erasing+center", seed=3, epochs=5, milestones=[1, 2])
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_json_names_every_field():
    assert list(market().to_dict()) == [f.name for f in fields(Recipe)]


def test_a_stored_recipe_with_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match="'momentum'"):
        Recipe.from_dict(market().to_dict() | {"momentum": 0.9})


def test_recipes_that_differ_have_folders_of_different_names():
    recipes = [market(), market(seed=2), market(tricks="none"), market(preset="paper"), market(epochs=3)]
    names = {recipe.name() for recipe in recipes}
    assert len(names) == len(recipes)
    assert not any(set(name) & set("/\\ :'\"") for name in names)
    assert "/" not in market(weights="../own/resnet50.pth").name()


def preset_table() -> str:
    """The fields in which the presets differ, as a Markdown table."""
    recipes = [market(preset=preset) for preset in Recipe.PRESETS]
    values = {entry.name: [getattr(recipe, entry.name) for recipe in recipes] for entry in fields(Recipe)}
    ordered = [name for name, given in values.items() if name != "preset" and len(set(given)) > 1]
    rows = [[f"`{name}`", *(str(getattr(recipe, name)) for recipe in recipes)] for name in ordered]
    head = [["field", *(f"`{preset}`" for preset in Recipe.PRESETS)], ["---"] * (1 + len(recipes))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (*head, *rows))


def test_the_table_of_presets_names_every_difference_and_stands_in_its_page():
    table = preset_table()
    set_by_presets = {name for fields_of in Recipe.PRESETS.values() for name in fields_of}
    assert {line.split("`")[1] for line in table.splitlines()[2:]} == set_by_presets | {"schedule", "freeze"}
    assert table in (Path(__file__).parents[1] / "docs" / "running.md").read_text()


def test_the_laptop_recipe_has_the_references_proportions():
    """A twelfth of warm-up, drops at a third and at seven twelfths; the same losses, batches and optimiser."""
    laptop, reference = market(preset="laptop"), market()
    share = [epoch / laptop.epochs for epoch in (laptop.warmup_epochs, *laptop.milestones)]
    assert share == pytest.approx([epoch / reference.epochs for epoch in (10, 40, 70)])
    assert laptop.size == (128, 64)
    assert laptop.pad / laptop.height == reference.pad / reference.height
    network = {"preset", "backbone", "height", "width", "pad", "precision"}
    schedule = {"iterations", "epochs", "warmup_epochs", "milestones", "checkpoint_every"}
    assert changes(laptop, reference).keys() == network | schedule


def test_the_strong_preset_is_the_laptops_with_two_more_switches_in_all():
    strong = market(preset="strong")
    assert changes(strong, market(preset="laptop")).keys() == {"preset", "schedule", "freeze"}
    assert not changes(strong, market(preset="laptop", tricks="all+cosine+freeze")).keys() - {"preset", "tricks"}
    none, plain = market(preset="strong", tricks="none"), market(preset="laptop", tricks="none")
    assert changes(none, plain).keys() == {"preset"}
    assert market(preset="strong", tricks="all-cosine").schedule == "steps"
    with pytest.raises(ValueError, match="cosine is on already"):
        market(preset="strong", tricks="all+cosine")
    with pytest.raises(ValueError, match="freeze=True with warmup_epochs=0"):
        market(preset="strong", tricks="all-warmup")
    assert market(preset="strong", tricks="all-warmup-freeze").warmup_epochs == 0


@pytest.mark.parametrize("dataset", ["market", "duke"])
def test_pcb_differs_from_the_bag_of_tricks_in_these_fields_alone(dataset):
    """Guards: every number of its recipe; all else, the sampler, 200 iterations, erasing, resize, is shared."""
    pcb = Recipe.for_dataset(dataset, model="pcb")
    assert changes(pcb, Recipe.for_dataset(dataset)) == PCB
    own = {"backbone_lr": 0.05, "parts": 6, "part_dim": 256, "dropout": 0.5, "rpp": False}
    own |= {"rpp_epochs": (5, 10), "rpp_rate": 0.1}
    assert {name: getattr(pcb, name) for name in own} == own
    assert {entry.name for entry in fields(pcb)} - {entry.name for entry in fields(Recipe)} == set(own)


@pytest.mark.parametrize("dataset", ["sysu", "regdb"])
def test_the_recipes_of_two_modalities_are_the_published_ones(dataset):
    """Guards: every number of theirs; what is not named here is the Bag of Tricks' of one modality."""
    plain = Recipe.for_dataset(dataset)
    assert changes(plain, market()) == {"dataset": dataset} | CROSS
    channels = Recipe.for_dataset(dataset, tricks="all+channels")
    assert changes(channels, plain) == {"tricks": "all+channels", "channels": 0.5}
    assert plain.channels == 0
    gan = Recipe.for_dataset(dataset, model="aligngan")
    assert changes(gan, plain) == ALIGNGAN
    own = {"backbone_lr": 0.02, "phases": (50, 100), "gan_size": (128, 128), "gan_p": 4, "gan_channels": 64}
    assert {name: getattr(gan, name) for name in own} == own
    assert (gan.gan_lr, gan.gan_weights, gan.pixels, gan.features) == (2e-4, (10, 5, 0.1, 0.1), True, True)
    assert not gan.together
    assert [gan.learning_rate(epoch) for epoch in (0, 199, 200, 249)] == pytest.approx([0.2, 0.2, 0.02, 0.02])


@pytest.mark.parametrize(
    ("tricks", "expected"),
    [
        ("all-erasing", {"erasing": 0.0}),
        ("all+rpp", {"rpp": True}),
        ("all-erasing+rpp", {"erasing": 0.0, "rpp": True}),
        ("none", {"erasing": 0.0, "last_stride": 2}),
    ],
)
def test_a_model_has_tricks_of_its_own(tricks, expected):
    differences = market(model="pcb", tricks=tricks).differences(market(model="pcb"))
    assert {name: here for name, (here, _) in differences.items()} == expected | {"tricks": tricks}


@pytest.mark.parametrize("tricks", ["all-smoothing", "all+center", "none+bnneck"])
def test_a_trick_of_another_model_is_refused_with_the_names_there_are(tricks):
    with pytest.raises(ValueError, match=r"names of this model are erasing, stride, rpp"):
        market(model="pcb", tricks=tricks)
    with pytest.raises(ValueError, match="no trick 'rpp'"):
        market(tricks="all+rpp")


def test_another_model_has_no_other_preset_and_an_unknown_one_is_refused():
    for preset in ("paper", "fixed"):
        with pytest.raises(ValueError, match=rf"no preset '{preset}' of this model; choose one of reference"):
            market(model="pcb", preset=preset)
    with pytest.raises(ValueError, match=r"no model 'pbc'; choose one of bot, pcb, aligngan"):
        market(model="pbc")


def test_the_toy_of_pcb_has_a_row_of_its_last_map_for_each_part_and_a_checkpoint_before_they_are_refined():
    toy, market = (Recipe.for_dataset(name, model="pcb", tricks="all+rpp") for name in ("toy", "market"))
    assert toy.height / 16 == toy.parts
    assert max(toy.milestones) < toy.epochs
    for recipe in (toy, market):
        assert (recipe.epochs - sum(recipe.rpp_epochs)) % recipe.checkpoint_every == 0
    assert toy.name() == "toy-pcb-reference-all+rpp-seed1"


FOREIGN = {  # values of what only the Bag of Tricks reads
    "pooling": "gem", "bnneck": True, "label_smoothing": 0.2, "center_weight": 0.1, "center_lr": 0.2, "freeze": True,
    "margin": 0.5,
}  # fmt: skip
READS = {"pcb": set(), "aligngan": {"bnneck", "margin"}}


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [(model, field, value) for model in READS for field, value in FOREIGN.items() if field not in READS[model]],
)
def test_a_field_that_the_model_does_not_read_is_refused(model, field, value):
    standing = rl.Recipe.for_dataset("toy-sysu", model=model)
    assert rl.Recipe.for_dataset("toy-sysu", model=model, **{field: getattr(standing, field)}) == standing
    with pytest.raises(ValueError, match=f"{field}={value!r}: the model {model} has no {field}"):
        rl.Recipe.for_dataset("toy-sysu", model=model, warmup_epochs=1, **{field: value})


@pytest.mark.parametrize(("field", "value"), [("backbone_lr", 0.01), ("rpp", True), ("phases", (1, 1))])
def test_a_field_of_another_model_is_refused(field, value):
    with pytest.raises(ValueError, match=f"a recipe of bot has no field '{field}'"):
        rl.Recipe.for_dataset("toy", **{field: value})


def test_names_of_folders_are_short_enough_for_every_disk_and_differ_still():
    short = market(weights="../own/resnet50.pth")
    assert short.name() == "market-reference-all-seed1-weights=.._own_resnet50.pth"
    deep = [f"/{'data/' * n}{letter}/resnet50.pth" for n in (14, 60) for letter in "ab"]
    deep += [f"/{'é' * 60}.pth", f"/{'é' * 61}.pth"]
    names = [market(weights=path).name() for path in deep]
    assert len(set(names)) == len(deep)
    assert all(len(name.encode()) <= 27 + 80 for name in names)
    assert all(re.fullmatch(r"market-\S+-weights=_data_.*_[0-9a-f]{8}_.*resnet50\.pth", name) for name in names[:4])
    everything = market(
        weights=deep[0], backbone=f"{'package.' * 20}module:net", erasing_fill=[0.123456789] * 3, lr=1e-7
    )
    assert len(everything.replace(dataset="market_" * 30).name().encode()) <= 200


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 10**30])
def test_seeds_that_no_generator_takes_are_refused(seed):
    with pytest.raises(ValueError, match=rf"seed={seed}; it must be at (least 0|most 4294967295)"):
        market(seed=seed)
    assert market(seed=0).seed == 0
    assert market(seed=2**32 - 1).seed == 2**32 - 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("p", "16"),
        ("epochs", 3.0),
        ("flip", "0.5"),
        ("compile", "no"),
        ("seed", True),
        ("milestones", 40),
        ("lr", None),
    ],
)
def test_a_value_of_another_type_is_refused_by_name_and_value(field, value):
    with pytest.raises(ValueError, match=rf"{field}={value!r}; it must be of type"):
        rl.Recipe.from_dict(rl.Recipe.for_dataset("toy").to_dict() | {field: value})


JUST_OUTSIDE = {  # of every field with bounds, beside the allowed values
    "seed": (-1, 2**32), "height": (15,), "width": (15,), "resize": ("nearest",), "flip": (-0.01, 1.01), "pad": (-1,),
    "misalign": (-0.01, 1.01), "channels": (-0.01, 1.01), "erasing": (-0.01, 1.01), "erasing_ratio": (0.0, 1.01),
    "p": (1,), "k": (1,), "order": ("person",), "iterations": (0,), "epochs": (0,), "checkpoint_every": (0,),
    "last_stride": (0, 3), "pooling": ("max",), "label_smoothing": (-0.01, 1.01), "center_weight": (-0.01,),
    "center_lr": (0.0,), "lr": (0.0,), "weight_decay": (-0.01,), "warmup_epochs": (-1,), "warmup_start": (-0.01, 1.01),
    "gamma": (0.0,), "schedule": ("linear",), "first_epoch": (-1, 2), "precision": ("half",),
}  # fmt: skip
JUST_OUTSIDE_OF = {
    "bot": JUST_OUTSIDE,
    "pcb": JUST_OUTSIDE
    | {"backbone_lr": (0.0,), "parts": (0,), "part_dim": (0,), "dropout": (-0.01, 1.01), "rpp_rate": (0.0,)},
    "aligngan": JUST_OUTSIDE | {"backbone_lr": (0.0,), "gan_p": (1,), "gan_channels": (0,), "gan_lr": (0.0,)},
}


@pytest.mark.parametrize("model", JUST_OUTSIDE_OF)
def test_a_value_just_outside_of_a_field_s_bounds_is_refused_by_name(model):
    standing = rl.Recipe.for_dataset("toy-sysu", model=model)
    bounded = {entry.name for entry in fields(standing) if entry.metadata.keys() - {"help"}}
    assert bounded == JUST_OUTSIDE_OF[model].keys()
    for field, values in JUST_OUTSIDE_OF[model].items():
        for value in values:
            with pytest.raises(ValueError, match=rf"^{field}={value!r}; (it must be|choose one of)"):
                type(standing).from_dict(standing.to_dict() | {field: value})


def test_toy_sizes_belong_to_the_built_in_sets_alone():
    """Guards: what decides is how a set is loaded, never how a folder is called."""
    for name in ("toy-shop", "data/toy", "./toy", "my.toys:toy"):
        assert rl.Recipe.for_dataset(name).epochs == 120
    assert rl.Recipe.for_dataset("regdb:3").order == "modality"


def test_every_field_is_described_and_its_default_lies_within_its_bounds():
    for model in ("bot", "pcb", "aligngan"):
        for entry in fields(rl.Recipe.for_dataset("toy-sysu", model=model)):
            assert len(entry.metadata["help"]) > 10, entry.name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"margin": float("nan")}, "margin=nan; it must hold finite numbers"),
        ({"lr": float("inf")}, "lr=inf; it must hold finite numbers"),
        ({"milestones": ("a",)}, "must hold whole numbers, as in"),
        ({"milestones": (4.5, 9.0)}, "must hold whole numbers, as in"),
        ({"erasing_area": (0.02, float("nan"))}, "must hold finite numbers, as in"),
        ({"erasing_area": (0.9, 0.1)}, "give two shares of the image, the smaller one first"),
        ({"erasing_area": (-1.0, 2.0)}, "give two shares of the image"),
        ({"tricks": None}, "tricks 'None' not understood"),
    ],
)
def test_numbers_that_no_training_can_use_are_refused_at_once(values, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        rl.Recipe.for_dataset("toy", **values)


def test_a_data_set_may_be_given_as_a_path():
    assert rl.Recipe.for_dataset(Path("shop")) == rl.Recipe.for_dataset("shop")


def test_numbers_and_words_of_numpy_are_pythons_in_a_recipe():
    """Guards: checkpoints that nobody could read again, since a file without code holds no number of NumPy."""
    given = {"lr": np.float64(1e-3), "p": np.int64(8), "milestones": (np.int64(3), 5), "bnneck": np.bool_(False)}
    recipe = Recipe.for_dataset(np.str_("toy"), seed=np.int32(2), **given)
    assert recipe == Recipe.for_dataset("toy", seed=2, lr=1e-3, p=8, milestones=(3, 5), bnneck=False)
    kinds = {type(value) for value in recipe.to_dict().values()} | {type(value) for value in recipe.milestones}
    assert kinds <= {int, float, str, bool, tuple, list}


def test_a_training_that_would_end_in_the_warm_up_of_a_resting_backbone_is_refused():
    with pytest.raises(ValueError, match=r"freeze=True with warmup_epochs=3; .* fewer than half of epochs=6"):
        market(preset="strong", epochs=6)
    assert market(preset="strong", epochs=7).schedule_factor(6) == 1


@pytest.mark.parametrize("preset", Recipe.PRESETS)
def test_every_preset_can_be_shortened_to_measure_its_steps(preset):
    """Guards: a dry run that refused `strong`, because its backbone rests for longer than two epochs."""
    short = market(preset=preset).shortened(5)
    assert (short.epochs, short.iterations) == (2, 5)
    assert short.size == market(preset=preset).size


@pytest.mark.parametrize("preset", ["reference", "paper"])
def test_the_cosine_ends_after_the_last_epoch_and_not_in_it(preset):
    recipe = market(preset=preset, tricks="all+cosine")
    assert 0 < recipe.learning_rate(recipe.epochs - 1) < 1e-3 * recipe.lr

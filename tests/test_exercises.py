"""The exercises of the course: solutions pass the checks, stubs do not, typical wrong answers get the right remark."""

import ast
import json
import runpy
from pathlib import Path

import pytest
import torch

import reidlib as rl
from reidlib import course

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
SOLUTIONS = {path.stem: path.with_name("solutions") / f"{path.stem}.py" for path in NOTEBOOKS}
EXERCISES = [name for chapter in course.CHAPTERS for name in course._names(chapter)]


def parts(text):
    """The answers of a solution or of a notebook's cells, by exercise: (name of the function or class, its source)."""
    found, nodes = {}, ast.parse(text).body
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if ast.unparse(call.func) == "rl.exercise":
                name, answer = ast.literal_eval(call.args[0]), ast.unparse(call.args[1])
                (code,) = (n for n in nodes if getattr(n, "name", None) == answer)
                found[name] = answer, ast.get_source_segment(text, code)
    return found


def imports(text):
    return "\n".join(ast.unparse(n) for n in ast.parse(text).body if isinstance(n, ast.Import | ast.ImportFrom))


def solution(name):
    for file in SOLUTIONS.values():
        if name in (found := parts(file.read_text())):
            return imports(file.read_text()), *found[name]
    raise KeyError(name)


def verdict(name, head, answer, code, capsys):
    space = {}
    exec(f"{head}\n{code}", space)
    capsys.readouterr()
    rl.exercise(name, space[answer])
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("file", SOLUTIONS.values(), ids=SOLUTIONS)
def test_a_file_of_solutions_solves_its_exercises(file, capsys):
    runpy.run_path(str(file))
    assert capsys.readouterr().out.splitlines() == [f"{name.split('.')[1]}: solved" for name in parts(file.read_text())]


def test_every_exercise_has_a_solution_and_stands_in_the_notebook_of_that_solution():
    solved = [name for file in SOLUTIONS.values() for name in parts(file.read_text())]
    asked = {path.stem: [name for cell in stubs(path) for name in cell] for path in NOTEBOOKS}
    assert sorted(solved) == sorted(EXERCISES)
    assert asked == {stem: list(parts(file.read_text())) for stem, file in SOLUTIONS.items()}


def stubs(path):
    """The exercises of each code cell of a notebook that has any."""
    sources = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    return [found for cell in sources if (found := parts("".join(cell["source"])))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stub_is_not_solved_and_asks_for_what_the_solution_is(path, capsys):
    for cell in stubs(path):
        for name, (answer, code) in cell.items():
            head, theirs, solved = solution(name)
            assert verdict(name, head, answer, code, capsys) == f"{name.split('.')[1]}: not solved yet"
            assert (answer, signatures(code)) == (theirs, signatures(solved)), (
                "the same names, arguments and docstrings"
            )


def signatures(code):
    top = ast.parse(code).body[0]
    methods = [top, *(node for node in top.body if isinstance(node, ast.FunctionDef) and isinstance(top, ast.ClassDef))]
    named = [(node.name, ast.get_docstring(node), ast.unparse(getattr(node, "args", []))) for node in methods]
    return named


def test_an_unknown_exercise_is_refused():
    with pytest.raises(ValueError, match=r"no exercise 'tricks.nothing'; choose one of data.true_matches, "):
        rl.exercise("tricks.nothing", print)


def test_an_answer_that_fails_does_not_stop_the_notebook(capsys):
    for answer, said in ((lambda *_: None, "returns nothing"), (lambda *_: 1 / 0, "ZeroDivisionError"),
                         (lambda *_: [1, 2], "the shape (2,)"), (lambda *_: "?", "ValueError")):  # fmt: skip
        rl.exercise("training.warm_cosine", answer)
        assert said in capsys.readouterr().out


# Each wrong answer is a solution with one edit: exercise, what is replaced, by what, words of the remark.
WRONG = [
    ("data.true_matches", "same & ~here,", "same,", "own camera as a match"),
    ("data.true_matches", " | (pids == -1)", "", "Junk"),
    ("data.true_matches", "(same & here)", "here", "stay in the list"),
    ("data.true_matches", "(pids == -1)", "(pids <= 0)", "Distractors"),
    ("data.pk_batch", "np.unique(pids)", "pids", "different identities"),
    ("data.pk_batch", "np.unique(pids), p, replace=False", "np.unique(pids), p, replace=False, p=np.unique("
     "pids, return_counts=True)[1] / len(pids)", "draw identities first"),
    ("data.pk_batch", "replace=len(images) < k", "replace=True", "comes twice"),
    ("data.pk_batch", "np.concatenate(batch)", "pids[np.concatenate(batch)]", "in pids, not pids"),
    ("data.pk_batch", "rng.choice(images, k, replace=len(images) < k)", "np.resize(images, k)", "at random"),
    ("data.pk_batch", "batch.append(rng.choice", "batch.append(np.random.choice", "from it"),
    ("data.split_people", "len(people) // 2 :]", "len(people) // 2 + 1 :]", "has no query"),
    ("data.split_people", "np.isin(pids, people[: len(people) // 2])", "rng.random(len(pids)) < 0.5", "and in test"),
    ("data.split_people", "if not all", "if not any", "no match"),
    ("tricks.batch_all", " & ~torch.eye(len(labels), dtype=torch.bool)", "", "positive of itself"),
    ("tricks.batch_all", "(losses > 0).sum().clamp(min=1)", "len(losses)", "keep the margin"),
    ("tricks.batch_all", ".clamp(min=1)", "", "NaN"),
    ("tricks.batch_all", "torch.cdist(feat, feat)", "((feat[:, None] - feat) ** 2).sum(2).sqrt()", "root of a zero"),
    ("tricks.neck", "if self.training:", "if True:", "single image"),
    ("tricks.neck", "(variance + 1e-5).sqrt()", "(variance + 1e-5)", "spread"),
    ("tricks.neck", 'self.register_buffer("mean", torch.zeros(channels))', "self.mean = torch.zeros(channels)\n"
     "        self.shift = nn.Parameter(torch.zeros(channels))", "no shift"),
    ("tricks.neck", "0.1 * (mean", "0.001 * (mean", "running statistics"),
    ("tricks.neck", "return self.scale * (feat - mean)", "return (feat - mean)", "does not multiply"),
    ("tricks.neck", "return self.scale * (feat - mean)", "return self.scale - 1 + (feat - mean)", "does not multiply"),
    ("tricks.neck", "return self.scale * (", "return self.scale.detach() * (", "does not learn"),
    ("tricks.draw_box", "height - h + 1", "height", "beyond the image"),
    ("tricks.draw_box", "height - h + 1), rng.integers(0, width - w + 1)", "height - h), rng.integers(0, width - w)",
     "which places"),
    ("tricks.draw_box", "rng.integers(0, height - h + 1)", "rng.choice([0, height - h])", "more often"),
    ("tricks.draw_box", "pixels * aspect)), round(math.sqrt(pixels / aspect", "pixels / aspect)), round(math.sqrt("
     "pixels * aspect", "aspect"),
    ("tricks.draw_box", "if h < height and w < width:", "h, w = min(h, height), min(w, width)\n        if True:",
     "not cut"),
    ("tricks.draw_box", "rng.uniform(0.02, 0.4)", "rng.uniform(0.02, 0.3)", "share"),
    ("training.resting_step", "system.trunk.eval()", "pass", "running statistics"),
    ("training.resting_step", "with torch.no_grad():", "if True:", "weights moved"),
    ("training.resting_step", "optimizer.zero_grad()", "pass", "gradients still there"),
    ("training.resting_step", "triplet(feat", "triplet(system.bnneck(feat)", "after the neck"),
    ("training.resting_step", ", label_smoothing=0.1", "", "label smoothing"),
    ("training.resting_step", "optimizer.step()", "pass", "do not move"),
    ("training.warm_cosine", "epoch - warmup", "epoch", "base rate"),
    ("training.warm_cosine", "0.01 * (1 - epoch / warmup) + ", "", "how does warm-up start"),
    ("training.warm_cosine", "math.pi *", "math.pi / 2 *", "half a period"),
    ("training.soft_margin", "F.softplus(d_pos - d_neg)", "F.relu(d_pos - d_neg + 0.3)", "still there"),
    ("training.soft_margin", ".mean()", ".sum()", "mean over the anchors"),
    ("training.soft_margin", "F.softplus(d_pos - d_neg)", "F.softplus(d_pos)", "nearest negative"),
    ("training.soft_margin", "F.softplus(d_pos - d_neg)", "F.softplus(-d_neg)", "It is the farthest"),
    ("evaluation.evaluate", "(g_pids[order] != -1) & ", "", "what of junk"),
    ("evaluation.evaluate", " & ~((g_pids[order] == pid) & (g_camids[order] == camid))", "", "own camera"),
    ("evaluation.evaluate", "(g_pids[order] == pid) & (g", "(g", "not everybody"),
    ("evaluation.evaluate", "np.mean(aps)", "np.sum(aps) / len(q_pids)", "no match"),
    ("evaluation.evaluate", "!= -1", "> 0", "distractors"),
    ("evaluation.evaluate", "-row", "row", "how do the ranks"),
    ("evaluation.expanded", "grown = set(start)", "grown = set()", "part of the result"),
    ("evaluation.expanded", "> 2 / 3 * len(small)", "> 0.9 * len(small)", "missing"),
    ("evaluation.expanded", "round(k / 2)", "k", "in no R(j, k/2)"),
    ("evaluation.expanded", "> 2 / 3 * len(small)", "> 1 / 3 * len(small)", "too little"),
    ("evaluation.expanded", "len(small & start)", "len(small & grown)", "at the beginning"),
    ("evaluation.people_interval", "return_inverse=True)", "return_inverse=True)\n    people, person = ap, np.arange("
     "len(ap))", "one by one"),
    ("evaluation.people_interval", "total[drawn].sum() / count[drawn].sum()", "(total / count)[drawn].mean()",
     "weighs more"),
    ("evaluation.people_interval", "(0.025, 0.975)", "(0.05, 0.95)", "both ends"),
    ("evaluation.people_interval", "rng.integers", "np.random.default_rng().integers", "Use rng"),
    ("ranking.threshold", "similarity[~same] >= value).mean() <=", "similarity >= value).mean() <=", "be lower"),
    ("ranking.threshold", "similarity[~same] >= value).mean() <=", "similarity[~same] > value).mean() <=",
     "pass, where"),
    ("ranking.threshold", "(similarity[same] >= value)", "(same & (similarity >= value))", "which pairs"),
    ("ranking.contributions", "products.numel() * ", "", "sum over all places"),
    ("ranking.contributions", "pooled.norm()", "maps.norm(dim=0)", "long feature"),
    ("ranking.contributions", " * other.norm()", "", "Which lengths"),
    ("ranking.nearest", "range(0, len(gallery), block)", "range(0, len(gallery) - block + 1, block)", "last rows"),
    ("ranking.nearest", "np.arange(start, start + len(rows))", "np.arange(len(rows))", "in its block"),
    ("ranking.nearest", "gallery[start : start + block]", "gallery[:][start : start + block]", "rows at once"),
    ("ranking.nearest", "np.argsort(-similarity)", "np.argsort(similarity)", "come first"),
    ("parts.part_head", "F.leaky_relu(self.norm(self.down(self.dropout(part))), 0.1)", "F.relu(self.norm(self.down("
     "self.dropout(part))))", "not leaky"),
    ("parts.part_head", "self.dropout(part)", "part", "dropped out"),
    ("parts.part_head", "self.dropout(part)", "F.dropout(part)", "two passes differ"),
    ("parts.part_head", "Dropout(0.5)", "Dropout(0.05)", "should be half"),
    ("parts.part_head", "self.norm(self.down(self.dropout(part)))", "self.norm(self.down(part)) * self.dropout("
     "torch.ones(1, len(self.norm.weight)))", "should be half"),
    ("parts.part_head", "F.leaky_relu(self.norm(self.down(self.dropout(part))), 0.1)", "self.norm(F.leaky_relu("
     "self.down(self.dropout(part)), 0.1))", "in which order"),
    ("parts.part_head", ", torch.nn.BatchNorm1d(dim)", ", torch.nn.Identity()", "which layers"),
    ("parts.shared_parts", "seen_a[:, None] & seen_b", "seen_a[:, None] | seen_b", "one of the two hides"),
    ("parts.shared_parts", "both.sum(2).clamp(min=1)", "both.shape[2]", "by all parts"),
    ("parts.shared_parts", ".clamp(min=1)", "", "NaN"),
    ("parts.shifted", "range(-most, most + 1)", "range(most + 1)", "both ways"),
    ("parts.shifted", ".mean() for", ".sum() / len(a) for", "that overlap"),
    ("parts.shifted", "cosines.diagonal(shift).mean()", "(F.normalize(a, dim=1) * F.normalize(b.roll(shift, 0), dim=1))"
     ".sum(1).mean()", "come back at the head"),
    ("infrared.draw_gallery", "rng.permutation(images)", "images", "draw at random"),
    ("infrared.draw_gallery", "for camera in cameras:", "for camera in np.unique(camids):", "not searched"),
    ("infrared.draw_gallery", "[:most]", "", "more images"),
    ("infrared.draw_gallery", "pids == pid) & (camids == camera)", "pids == pid) & np.isin(camids, cameras)", "twice"),
    ("infrared.people_rank", "place = {2: \"room 2\", 3: \"room 2\"}", "place = {}", "one room"),
    ("infrared.people_rank", " and person not in people", "", "each once"),
    ("infrared.people_rank", "place.get(camera, camera) != place.get(camid, camid)", "(person != pid or "
     "place.get(camera, camera) != place.get(camid, camid))", "not only the right person"),
    ("infrared.people_rank", "else 0", "else len(people) + 1", "has the rank 0"),
    ("infrared.one_channel", "images.clone()", "images", "have changed"),
    ("infrared.one_channel", ".round()", "", "one level off"),
    ("infrared.one_channel", "0.299, 0.587, 0.114", "1 / 3, 1 / 3, 1 / 3", "Which weights"),
    ("infrared.one_channel", "if c >= 0:", "if True:", "stays as it is"),
    ("infrared.one_channel", "images[i, ..., c]", "images[i, ..., 2 - c]", "another channel"),
    ("aligngan.cycle_loss", "(first + second) / 2", "first", "infrared images go"),
    ("aligngan.cycle_loss", "(first + second) / 2", "first + second", "not their sum"),
    ("aligngan.cycle_loss", ".abs()", ".square()", "not squares"),
    ("aligngan.false_pairs", "torch.roll(image, each, 0)", "torch.roll(image, 1, 0)", "its own person"),
    ("aligngan.false_pairs", "(image_of_g, maps), (image, maps_of_g)", "(image_of_g, maps), (image, maps)",
     "with the generated map"),
    ("aligngan.false_pairs", "torch.roll(image, each, 0), maps", "torch.roll(image_of_g, each, 0), maps", "are real"),
    ("aligngan.judge_loss", "/ len(wrong)", "", "not their sum"),
    ("aligngan.judge_loss", ") / 2", ")", "half of each"),
    ("aligngan.judge_loss", "[answers.square().mean() for answers in false]", "[torch.cat([a.flatten() for a in false])"
     ".square().mean()]", "count alike"),
    ("aligngan.judge_loss", "(real - 1)", "real", "a mean over the patches"),
    ("search.rates", "(passed & right)[enrolled]", "passed[enrolled]", "another person is not found"),
    ("search.rates", "(passed & right)[enrolled].mean()", "(passed & right).mean()", "not of all"),
    ("search.rates", "best >= threshold", "best > threshold", "equal to the threshold"),
    ("search.rates", "passed[~enrolled].mean()", "(passed & ~enrolled).mean()", "of the strangers' images"),
    ("search.entries", " / np.linalg.norm(means, axis=1, keepdims=True)", "", "shorter than 1"),
    ("search.entries", "list(dict.fromkeys(names))", "sorted(set(names))", "order in which they were enrolled"),
    ("search.entries", "emb[names == name].mean(0)", "emb[names == name][0]", "not the mean"),
    ("search.rand_index", "((same & together).sum() - chance) / (most - chance)", "(same == together).mean()",
     "plain Rand index"),
    ("search.rand_index", "((same & together).sum() - chance) / (most - chance)", "(same & together).sum() / most",
     "what chance gives is still in it"),
    ("search.rand_index", "np.triu_indices(len(pids), 1)", "np.triu_indices(len(pids))", "each pair once"),
    ("reasons.paired_interval", "with_trick - without", "without - with_trick", "minus without"),
    ("reasons.paired_interval", "gains.std(ddof=1)", "np.hypot(with_trick.std(), without.std())", "seed by seed"),
    ("reasons.paired_interval", "std(ddof=1)", "std()", "one less than its size"),
    ("reasons.paired_interval", "stats.t.ppf(1 - 0.025 / comparisons, len(gains) - 1)",
     "stats.norm.ppf(1 - 0.025 / comparisons)", "too narrow"),
    ("reasons.paired_interval", "0.025 / comparisons", "0.025", "36 comparisons"),
    ("reasons.paired_interval", "0.025", "0.05", "which quantile"),
    ("reasons.paired_interval", " / len(gains) ** 0.5", "", "not of one difference"),
    ("reasons.flip_test", "np.abs(means) >= abs(differences.mean())", "means >= differences.mean()", "both sides"),
    ("reasons.flip_test", ">= abs(differences.mean()) - 1e-9", "> abs(differences.mean()) + 1e-9", "its equals"),
    ("reasons.flip_test", "1e-9).mean()", "1e-9).sum()", "at least as far"),
    ("reasons.trend", "gains @ steps / (steps**2).sum()", "(gains[:, -1] - gains[:, 0]) / (gains.shape[1] - 1)",
     "all settings"),
    ("reasons.trend", "(steps**2).sum()", "len(steps)", "number of the setting"),
    ("reasons.trend", " / len(slopes) ** 0.5", "", "one slope"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "words"), WRONG, ids=[f"{w[0]}-{w[3]}" for w in WRONG])
def test_a_typical_wrong_answer_gets_the_right_remark(name, old, new, words, capsys):
    head, answer, code = solution(name)
    assert old in code
    said = verdict(name, head, answer, code.replace(old, new), capsys)
    assert said.startswith(f"{name.split('.')[1]}: not yet. ")
    assert words in said


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("data.true_matches", "same & ~here,", "(same & ~here).tolist(),"),
        ("data.pk_batch", "np.concatenate(batch)", "np.concatenate(batch).tolist()"),
        ("tricks.neck", ", unbiased=False", ""),
        ("tricks.draw_box", "round(", "int("),
        ("evaluation.people_interval", "return tuple(np.", "return (np."),
        ("evaluation.expanded", "return grown", "return sorted(grown)"),
        ("parts.part_head", "self.dropout(part)", "F.dropout(part, 0.5, self.training)"),
        ("parts.shifted", ".mean() for", ".mean().item() for"),
        ("reasons.flip_test", "list(product((1, -1), repeat=len(differences)))",
         "list(product((-1, 1), repeat=len(differences)))"),
    ],
)  # fmt: skip
def test_another_right_answer_passes_and_leaves_the_random_state_alone(name, old, new, capsys):
    head, answer, code = solution(name)
    before = torch.get_rng_state()
    assert verdict(name, head, answer, code.replace(old, new), capsys).endswith(": solved")
    assert torch.equal(torch.get_rng_state(), before)


def test_every_exercise_has_two_wrong_answers_or_more():
    assert min(sum(wrong[0] == name for wrong in WRONG) for name in EXERCISES) >= 2

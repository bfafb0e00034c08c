# Thin verbs: each is a plain command or two, and CONTRIBUTING.md lists those of the tests for machines without make.
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/demo
CHAPTERS := 07_rgb_infrared 03_train 10_aligngan 01_data 02_tricks_ablation 04_evaluate 05_ranked_images 06_pcb 08_search 09_reasons
LIBRARY := $(shell find reidlib -type f -not -name "*.pyc")

.PHONY: demo chapters check test lint docs bench mutants lab table ladder worlds cross market clean

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('reidlib needs Python 3.11 or newer; try make PYTHON=python3.12' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

# the main job on toy data, headless, two chapters at a time with one thread each; the longest go first, 04, 05 and 08
# read the training that 03 leaves in $(RUN), and 10 the baseline of 07
demo: .venv/ready
	@$(MAKE) --jobs 2 chapters
	@$(BIN)/python -c "import reidlib as rl; print(*map(rl.result_line, rl.collect('$(RUN)')), sep='\n')"
	@echo "executed notebooks, figures, checkpoint and result.json are in $(RUN)"

chapters: $(CHAPTERS:%=$(RUN)/%.ipynb)
READERS := 04_evaluate 05_ranked_images 08_search
$(READERS:%=$(RUN)/%.ipynb): $(RUN)/03_train.ipynb
$(RUN)/10_aligngan.ipynb: $(RUN)/07_rgb_infrared.ipynb
$(READERS:%=$(RUN)/%.ipynb) $(RUN)/03_train.ipynb: PARAMETERS = -p run_dir $(CURDIR)/$(RUN)
$(RUN)/%.ipynb: notebooks/%.ipynb $(LIBRARY) .venv/ready
	@mkdir -p $(RUN)
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/papermill --kernel python3 --cwd notebooks --no-progress-bar $(PARAMETERS) $< \
	  $(RUN)/unfinished-$*.ipynb
	@mv $(RUN)/unfinished-$*.ipynb $@

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# two files at a time, one thread each, in the order of their names: by number of tests the longest would come last
TWO := -n 2 --dist loadfile --no-loadscope-reorder

# what a commit needs: style, types, unit tests and the examples of the docstrings, eight minutes on two free cores
check: lint
	$(BIN)/python -m pytest $(TWO)
	$(BIN)/python -m pytest --doctest-modules reidlib

# everything: the notebooks run too, and their outputs are compared; 07, and 10 after it, which are half of it and read no
# run of the others, run beside them
NBVAL := OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m pytest --nbval --nbval-current-env
HALF := notebooks/07_rgb_infrared.ipynb notebooks/10_aligngan.ipynb
test: check
	$(NBVAL) $(HALF) & other=$$!; $(NBVAL) notebooks $(HALF:%=--ignore %); here=$$?; wait $$other && exit $$here

# the site: README, the pages of docs/, the notebooks as committed, and the reference; half a minute, without a network
docs: .venv/ready
	$(BIN)/python tools/site.py
	@echo "open build/site/index.html"

# side by side with peers, ratios printed, on two cores that do nothing else
bench: .venv/ready
	for name in evaluate pipeline train browser search; do $(BIN)/python benchmarks/$$name.py || exit 1; done

# changes the library in one place at a time and counts the changes that some test notices: 15 changes of each module,
# all of them with make mutants ALL=1
mutants: .venv/ready
	$(BIN)/python tools/mutants.py $(if $(ALL),--most 0)

lab: .venv/ready
	$(BIN)/jupyter lab notebooks

# two grids share the jobs, one thread each: faster than one on both cores, and the same bits on any number of cores
GRID := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m reidlib.repeats notebooks/03_train.ipynb
TEN := 1 2 3 4 5 6 7 8 9 10
twice = $(GRID) $(1) & other=$$!; $(GRID) $(1); here=$$?; wait $$other && exit $$here

# ten seeds of toy and toy-duke, each tested on both, into a file for each model: the Bag of Tricks with random erasing
# and without, results/toy.csv; PCB likewise, and with refined parts, results/toy_pcb.csv; then all of
# them on people who are half hidden, results/toy_hidden.csv; the search before the BNNeck, results/toy_bnneck.csv; and
# random triplets in place of the hardest, results/toy_mining.csv
table: .venv/ready
	$(call twice, -p dataset toy toy-duke -p tricks all all-erasing -p seed $(TEN) --csv results/toy.csv)
	$(call twice, -p model pcb -p dataset toy toy-duke -p tricks all all-erasing all+rpp -p seed $(TEN) --csv results/toy_pcb.csv)
	$(BIN)/python -m reidlib.studies.hidden
	$(BIN)/python -m reidlib.studies.neck results/toy_bnneck.csv \
	  $(TEN:%=runs/toy-reference-all-seed%) $(TEN:%=runs/toy-duke-reference-all-seed%)
	$(call twice, -p model reidlib.studies.mining:RandomTriplets -p dataset toy -p seed $(TEN) --csv results/toy_mining.csv)

# the paper's steps, then each trick left out (all-bnneck is the fifth step), ten seeds: results/toy_ladder.csv
ladder: .venv/ready
	$(call twice, -p dataset toy -p seed $(TEN) --csv results/toy_ladder.csv -p tricks none none+warmup \
	  none+warmup+erasing none+warmup+erasing+smoothing none+warmup+erasing+smoothing+stride all all+center \
	  all-warmup all-erasing all-smoothing all-stride)

# each trick's gain along one knob of the drawn world or of the training, ten seeds: results/toy_worlds.csv. It goes on
# where it was stopped; python -m reidlib.studies.worlds --dry-run measures how long the rest takes on this machine; and
# strips, refined parts and the Bag of Tricks in bad boxes, with their controls, five seeds: results/toy_boxes.csv
worlds: .venv/ready
	$(BIN)/python -m reidlib.studies.worlds
	$(BIN)/python -m reidlib.studies.boxes --seeds 1 2 3 4 5

# five seeds of each way to train on two modalities, tested in four ways, and of the upper bound that the drawing allows,
# in four worlds: infrared brightness as a grey copy of the colours, half of it, by the fabrics of the dyes, and unrelated:
# results/rgb_infrared.csv; and the stated test of pixel alignment on the runs of AlignGAN: results/pixel_alignment.csv,
# figures/generated_worlds.jpg; and in float32 AlignGAN, its baseline and channel augmentation once more,
# results/rgb_infrared_float32.csv, with the test of pixels, results/pixel_alignment_float32.csv, the test of pixels with
# ten fresh seeds where a translation can be learned, results/pixel_alignment_fresh.csv, and the baseline with other
# batches, results/rgb_infrared_batches.csv
KNOB := toy-sysu:copied=1 toy-sysu:copied=0.5 toy-sysu toy-sysu:fabrics=0
TRUE := toy-sysu:copied=1,translated=1 toy-sysu:copied=0.5,translated=1 toy-sysu:translated=1 toy-sysu:fabrics=0,translated=1
cross: .venv/ready
	$(call twice, -p dataset $(KNOB) -p tricks all all+channels -p seed 1 2 3 4 5)
	$(call twice, -p dataset $(TRUE) -p seed 1 2 3 4 5)
	$(call twice, -p dataset $(KNOB) -p model aligngan -p tricks all all-pixels all-features -p seed 1 2 3 4 5)
	$(BIN)/python -m reidlib.studies.alignment
	$(BIN)/python -m reidlib.studies.translations
	$(call twice, -p dataset toy-sysu -p model bot aligngan -p precision float32 -p seed 1 2 3 4 5)
	$(call twice, -p dataset toy-sysu -p tricks all+channels -p precision float32 -p seed 1 2 3 4 5)
	$(BIN)/python -m reidlib.studies.alignment float32
	$(call twice, -p dataset toy-sysu:copied=1 -p model aligngan -p precision float32 -p epochs 37 -p seed 6 7 8 9 10 11 12 13 14 15)
	$(BIN)/python -m reidlib.studies.fresh
	$(call twice, -p dataset toy-sysu -p order modality identity -p precision float32 -p seed 1 2 3 4 5 \
	  --csv results/rgb_infrared_batches.csv)

# real people on a laptop: the preset laptop on Market-1501, tested there and, where it is here, on CUHK01. Three seeds:
# with all five tricks, without random erasing, and without any, results/market1501.csv; the ladder at three tenths of
# the length, results/market1501_ladder.csv; three switches of a stronger baseline at the ladder's length,
# results/market1501_switches.csv; the preset strong, which has two of them, results/market1501_strong.csv, and one run of
# it of twice the length, which the package ships, results/market1501_longer.csv; the search before the BNNeck,
# *_bnneck.csv. WEIGHTS=FILE where the ImageNet weights cannot be fetched.
MARKET := -p dataset market $(if $(WEIGHTS),-p weights $(abspath $(WEIGHTS)))
LAPTOP := $(MARKET) -p preset laptop
market: .venv/ready
	$(call twice, $(LAPTOP) -p seed 1 2 3 -p tricks all all-erasing none --csv results/market1501.csv)
	$(BIN)/python -m reidlib.studies.neck results/market1501_bnneck.csv $$(ls -d runs/market-laptop-all-seed* | grep -v iterations)
	$(call twice, $(LAPTOP) -p seed 1 2 3 -p iterations 66 --csv results/market1501_ladder.csv -p tricks none none+warmup \
	  none+warmup+erasing none+warmup+erasing+smoothing none+warmup+erasing+smoothing+stride all all+center \
	  all-warmup all-erasing all-smoothing all-stride)
	$(call twice, $(LAPTOP) -p seed 1 2 3 -p iterations 66 --csv results/market1501_switches.csv -p tricks all+gem all+cosine \
	  all+freeze all+cosine+freeze all+gem+cosine+freeze)
	$(call twice, $(MARKET) -p preset strong -p seed 1 2 3 --csv results/market1501_strong.csv)
	$(BIN)/python -m reidlib.studies.neck results/market1501_strong_bnneck.csv $$(ls -d runs/market-strong-all-seed* | grep -v iterations)
	$(GRID) $(MARKET) -p preset strong -p seed 1 -p iterations 440 --csv results/market1501_longer.csv
	$(BIN)/python -m reidlib.studies.neck results/market1501_longer_bnneck.csv runs/market-strong-all-seed1-iterations=440*

clean:
	rm -rf runs build .pytest_cache .ruff_cache .hypothesis

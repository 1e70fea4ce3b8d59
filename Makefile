# Two commands do everything on a fresh machine with Python 3.11+: `make up` and `make test`.
# The newest that really runs: a version manager's shim may stand for a version that is not there.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: up down install lint unit test redis bench clean

up: install
	$(BIN)/shopkeeper up

down:
	$(BIN)/shopkeeper down

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A file's tests share one process and its fixtures; two files run at a time.
unit: install
	$(BIN)/pytest -n 2 --dist loadfile tests/unit tests/conformance

# Those that start Ray, Redis and whole systems have the machine to themselves.
test: install lint redis unit
	$(BIN)/pytest tests/integration

redis:
	command -v redis-server >/dev/null || (apt-get update -qq && apt-get install -y -qq redis-server)

# Heavy evidence, on an idle machine; each writes tests/bench/results/NAME.json.
bench: install
	$(BIN)/python tests/bench/first_answer.py
	$(BIN)/python tests/bench/events_ingest.py
	$(BIN)/python tests/bench/serving_latency.py --record --seconds 60
	$(BIN)/python tests/bench/visual_search_latency.py --record
	$(BIN)/python tests/bench/stage_loss.py --record
	$(BIN)/python tests/bench/sample_medium.py
	$(BIN)/python tests/bench/recommender_quality.py --data ../shared/data/recsys/amazon_beauty
	$(BIN)/python tests/bench/rectools_speed.py --data ../shared/data/recsys/amazon_beauty
	$(BIN)/python tests/bench/time_to_target.py --data ../shared/data/recsys/amazon_beauty \
		--config configs/training/recommender.yaml --rectools-lines tests/bench/results/rectools_epochs.jsonl
	$(BIN)/python tests/bench/item_tower_ablation.py --data ../shared/data/recsys/amazon_beauty
	$(BIN)/python tests/bench/item_tower_ablation.py --data ../shared/data/recsys/ml-1m --format movielens-1m \
		--variants ids ids+images ids+attributes ids+attributes+images --name item_images_ml1m \
		--config configs/training/recommender.yaml --seeds 2 --vision side=64 epochs=30
	$(BIN)/python tests/bench/cold_items.py --data ../shared/data/recsys/amazon_beauty
	$(BIN)/python tests/bench/two_workers.py --data ../shared/data/recsys/amazon_beauty
	$(BIN)/python tests/bench/sharded_embeddings.py
	$(BIN)/python tests/bench/forecast_quality.py --data ../shared/data/forecast
	$(BIN)/python tests/bench/forecast_scale.py --series 1000 --series 10000 --series 100000 --workers 1 --workers 2
	$(BIN)/python tests/bench/index_scale.py --data ../shared/data/recsys/amazon_beauty
	$(BIN)/python tests/bench/vision_quality.py --sample 1 --name vision_sample
	$(BIN)/python tests/bench/vision_new_items.py --sample 2
	$(BIN)/python tests/bench/vision_quality.py --shop fashion-mnist ../shared/data/vision/fashion_mnist \
		--name vision_fashion_mnist
	$(BIN)/python tests/bench/vision_quality.py --softmax --shop image-folders ../shared/data/vision/clothing_small \
		--name vision_clothing
	$(BIN)/python tests/bench/vision_quality.py --shop boxes ../shared/data/vision/clothing_coparsing \
		--name vision_coparsing
	$(BIN)/python tests/bench/replenishment.py --dominicks ../shared/data/forecast/dominicks_oj

clean:
	rm -rf $(VENV) dist build

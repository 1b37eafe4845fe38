# make report       install and analyse the built-in movie: report/
# make test         lint, tests and notebooks          make test-colab   the notebooks' first cells on Colab's versions
# make notebooks    write and execute the .ipynb       make badges       addresses in README and notebooks
# make tables       benchmark tables in the README     make size         lines a module, budget
# make test-ui      napari's window, JupyterLab in a browser; on Debian: apt install $(cat tools/ui/packages.txt)
PYTHON ?= python3
VENV ?= .venv
VENV_COLAB ?= .venv-colab
VENV_UI ?= .venv-ui
BUDGET_LINES = 20000

BIN = $(VENV)/bin
PIP = -m pip --disable-pip-version-check install --quiet
NOTEBOOKS = $(wildcard notebooks/*.py)

.PHONY: report test test-colab test-ui lint pytest nbval notebooks badges tables size clean
.DELETE_ON_ERROR:

report: $(VENV)/core.stamp
	$(BIN)/calcium-helpers report -o report/

test: lint pytest nbval

lint: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The notebooks' own files, half a gigabyte, go to a folder that does not stay.
nbval: $(VENV)/test.stamp
	rm -rf $(VENV)/tmp && mkdir $(VENV)/tmp
	TMPDIR=$(abspath $(VENV)/tmp) $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-sanitize-with tools/nbval_sanitize.cfg notebooks/*.ipynb
	rm -rf $(VENV)/tmp

test-colab: $(VENV_COLAB)/colab.stamp
	$(VENV_COLAB)/bin/python tools/colab/check.py

# What was on the screen stays in $(VENV_UI)/seen.
test-ui: $(VENV_UI)/ui.stamp
	rm -rf $(VENV_UI)/seen && mkdir $(VENV_UI)/seen
	$(VENV_UI)/bin/python -m pytest --quiet --disable-warnings tests/test_napari_view.py
	$(VENV_UI)/bin/python tools/ui/small_run.py $(VENV_UI)/seen/run
	$(VENV_UI)/bin/python tools/ui/check_napari.py $(VENV_UI)/seen/run $(VENV_UI)/seen
	$(VENV_UI)/bin/python tools/ui/check_browser.py $(VENV_UI)/seen/run $(VENV_UI)/seen

# One way only: the .py is the source. `jupytext --sync` goes by file times, which a checkout does not keep.
notebooks: $(VENV)/test.stamp badges
	$(BIN)/jupytext --quiet --to ipynb --update $(NOTEBOOKS)
	$(BIN)/jupyter-nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False \
		--ExecutePreprocessor.store_widget_state=False $(NOTEBOOKS:.py=.ipynb)
	$(BIN)/python tools/gallery.py

badges: $(VENV)/test.stamp
	$(BIN)/python tools/badges.py

tables: $(VENV)/test.stamp
	$(BIN)/python tools/tables.py

size: $(VENV)/test.stamp
	@$(BIN)/python tools/size.py $(BUDGET_LINES)

clean:
	rm -rf $(VENV) $(VENV_COLAB) $(VENV_UI) report out build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# What is installed is stamped: a second run starts at once, a change of the metadata installs anew.
$(VENV)/core.stamp: pyproject.toml setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/test.stamp: pyproject.toml setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP) -c constraints.txt -e ".[test]"
	@touch $@ $(VENV)/core.stamp

$(VENV_COLAB)/colab.stamp: tools/colab/requirements.txt | $(VENV_COLAB)/bin/python
	$(VENV_COLAB)/bin/python $(PIP) -r tools/colab/requirements.txt
	@touch $@

# On top of the environment of the tests, which it leaves as it is: torch need not be installed twice.
$(VENV_UI)/ui.stamp: tools/ui/requirements.txt constraints.txt $(VENV)/test.stamp | $(VENV_UI)/bin/python
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" > \
		$$($(VENV_UI)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/tests.pth
	$(VENV_UI)/bin/python $(PIP) -c constraints.txt -r tools/ui/requirements.txt
	@touch $@

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1): make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "$(PYTHON) cannot make environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $*

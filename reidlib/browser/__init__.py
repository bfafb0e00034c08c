"""The ranked-image browser: a widget for JupyterLab and Voilà. Nothing else needs anywidget."""

from importlib.util import find_spec

if find_spec("anywidget") is None:
    raise ImportError("the ranked-image browser needs anywidget: pip install anywidget")

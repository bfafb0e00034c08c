"""The ranked-image browser: a widget for JupyterLab and Voilà. Nothing else needs anywidget."""

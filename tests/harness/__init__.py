"""What the tests of pages stand on: when a page is quiet, a page that talks to Python, a JupyterLab, and their end."""

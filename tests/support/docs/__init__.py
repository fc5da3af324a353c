"""The documentation: what is generated of it, and the site's links.

python -m tests.support.docs                 the references of commands and configuration
python -m tests.support.docs images health   the same, and tutorials: examples that run
python -m tests.support.docs all             the same, and every tutorial
"""

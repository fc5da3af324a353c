"""See the package."""

import sys

from tests.support.docs import reference

for path, text in reference.pages().items():
    path.write_text(text)
    print(f"wrote {path}")
if len(sys.argv) > 1:
    from tests.support.docs import tutorials

    for name in tutorials.NAMES if sys.argv[1:] == ["all"] else sys.argv[1:]:
        print(f"wrote {tutorials.render(name)}")

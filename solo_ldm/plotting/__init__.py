"""One look and one layout for the pictures of both packages.

`page` lays panels out and writes them, `style` is their look; `series`, `scores`, `confusion`,
`images` and `embedding` draw what several pictures show.
"""

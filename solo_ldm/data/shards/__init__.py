"""Images in shards, tar or tables of Hugging Face: where each lies, found once before training.

A shard is a file that holds many images. Its index has the place of every image, so that training
reads any of them at any time, in the order of any other data set: nothing is read one after another
or drawn from a buffer.
"""

"""Video: clips of frames from folders of images, arrays and video files."""

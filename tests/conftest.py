"""What all tests share: one thread each, so that several run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

"""What a test needs of the machine."""

import pytest

from heedful.kernels.cpu.library import library

compiled = pytest.mark.skipif(library() is None, reason="no C++ compiler here, so no kernel that attends in a row")

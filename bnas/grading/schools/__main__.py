"""What runs in a school's system: python -m bnas.grading.schools SYSTEM ASSIGNMENT SUBMISSION_FOLDER [RESULTS]."""

import sys

from bnas.grading.schools import NAMES

if __name__ == "__main__":
    NAMES[sys.argv[1]].main(sys.argv[2:])

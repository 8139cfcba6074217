"""What several test modules use. A test module never imports another one."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository

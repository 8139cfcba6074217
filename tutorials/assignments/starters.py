"""Write the starter of every assignment from its reference: python tutorials/assignments/starters.py"""

from bnas.grading import known, starter_of

if __name__ == "__main__":
    for folder in known():
        reference = folder / "instructor" / "reference.py"
        text = starter_of(reference.read_text(encoding="utf-8"))
        (folder / "starter.py").write_text(text, encoding="utf-8")
        print(folder / "starter.py")

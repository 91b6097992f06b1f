"""Grammars beside the GGUF file: the general form of an answer, and that of the answers to one report."""

from pathlib import Path

from medanalyzr.core.run_folder import write_text
from medanalyzr.inference.guidance.grammar import grammar_of
from medanalyzr.lab.report import CRITICAL, FLAGS, UNDETERMINED

_FLAG = " | ".join(f'"{flag}"' for flag in (*FLAGS, UNDETERMINED))

GENERAL = f"""# The form of an answer of MedAnalyzr to any report. It binds the form and not the truth, nor the numbers: for those, make a
# grammar of the report itself (medanalyzr.inference.guidance.grammar.grammar_of), and check every flag in any case.
root       ::= line+ "Conclusion : " words ("\\nSuite : " words)?
line       ::= name " : " [<>]? number (" " unit)? " (" comparison ") : " flag (", {CRITICAL}")? "\\n"
name       ::= [A-Za-zÀ-ÿ0-9] [^:\\n]{{0,60}}
number     ::= [0-9]{{1,6}} ("," [0-9]{{1,4}})?
unit       ::= [^ ():\\n] [^():\\n]{{0,24}}
comparison ::= [^()\\n]{{3,80}}
flag       ::= {_FLAG}
words      ::= [A-Za-zÀ-ÿ] [^\\n]{{2,400}}
"""


def save_grammars(folder: Path, reports: dict[str, str]) -> None:
    """Write `answer.gbnf`, the general form, and for each named report `<name>.gbnf`, which fixes its names, values and units."""
    write_text(folder / "answer.gbnf", GENERAL)
    for name, report in reports.items():
        grammar = grammar_of(report)
        if grammar is not None:
            write_text(folder / f"{name}.gbnf", grammar)

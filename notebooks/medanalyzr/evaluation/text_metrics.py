"""Scores of an answer as text, valid for French: overlap with the reference, language, repetition, end."""

import re
from collections.abc import Sequence
from functools import cache

from medanalyzr.evaluation.metrics import wilson
from medanalyzr.inference.generation import Answer
from medanalyzr.lab.report import parse_line

FEW_WORDS = 4  # the language of a shorter text is not judged
_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)?")


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L F1 over words with their accents (Lin, ACL 2004): the longest common subsequence of the two texts."""
    from rapidfuzz.distance import LCSseq

    words = [_WORD.findall(text.lower()) for text in (answer, reference)]
    return 2 * LCSseq.similarity(*words) / sum(map(len, words)) if any(words) else 0.0


@cache
def _classify():
    import py3langid

    py3langid.set_languages(["fr", "en", "de", "es", "it", "pt", "nl"])
    return py3langid.classify


def language(answer: str) -> str | None:
    """The language of an answer without its measurement lines ("fr", "en"…); None if too few words are left."""
    said = " ".join(line for line in answer.splitlines() if parse_line(line) is None)
    return _classify()(said)[0] if len(re.findall(r"[^\W\d_]{2,}", said)) >= FEW_WORDS else None


def repeated_lines(answer: str) -> int:
    """How many lines of an answer repeat an earlier line."""
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    return len(lines) - len(set(lines))


def text_scores(answers: Sequence[Answer], references: Sequence[str]) -> dict:
    """chrF (Popović, WMT 2015; sacrebleu, 0 to 100), mean ROUGE-L F1 (0 to 1), and with Wilson's intervals the shares of answers
    that end by themselves, are in French (of those long enough to tell), and repeat no line.
    """
    from sacrebleu.metrics import CHRF

    texts = [answer.text for answer in answers]
    languages = [found for found in map(language, texts) if found]
    return {
        "chrf": CHRF().corpus_score(texts, [list(references)]).score,
        "rouge_l": sum(map(rouge_l, texts, references)) / len(texts),
        "ended": wilson(sum(answer.ended for answer in answers), len(answers)),
        "french": wilson(languages.count("fr"), len(languages)),
        "without_repetition": wilson(sum(not repeated_lines(text) for text in texts), len(texts)),
    }

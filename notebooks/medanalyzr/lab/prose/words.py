"""The words of free French text: analytes, what is said of them, and what keeps a sentence from saying it.

The kinds of tables/free_text.csv: `adjective`, `fixed` and `noun` describe («élevée», «dans les normes», «élévation de»), `signed` does
for the analytes of `SIGNED` alone; `term` and `stem` name an analyte with its flag («anémie», «hyper» + «kaliémie»), `group` and `both`
several analytes. What keeps a sentence from stating something (`rest`, `after`, `sign`, `may`, `part`, `generic`, `sentence`) is
told in `unsaid`; the others join («et», `filler`) or part (`break`). Patterns meet text in lower case without accents.
"""

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

from medanalyzr.lab.reading.names import key
from medanalyzr.lab.references import aliases, fold, read_table

HIGH, NORMAL, LOW, ABNORMAL = "élevé", "normal", "bas", "anormal"
SIGNED = {"crp", "crp_us", "pct", "troponine", "troponine_t", "troponine_i", "ddimeres", "anti_tpo", "anti_tg", "trak", "facteur_rhumatoide",
          "anti_ccp", "hcg", "alcoolemie"}  # fmt: skip
STATES = {"adjective", "fixed", "signed", "noun"}
TURNS = {"contrast", "cause"}
LONGEST_NAME = 7  # words
_SHORT = {"hb", "tp", "ph", "ck"}  # names of two letters that count in lower case, too
_NOT_HERE = {"ta", "ra", "pic", "at", "be", "fr", "mo", "p", "ct"}  # they may mean something else («TA»: tension artérielle)
_WHOSE = r"(?:la |les |le |l'|leurs? |sa |ses )?"
_OF = (
    r"(?: (?:de |d'|des |du )?(?:la |l')?"
    r"(?:reference|normales?|norme|normalite|usuelles?|habituelles?|physiologiques?|laboratoire|intervalle))"
)
_FRAGMENTS = {  # what a value is compared with: any limit, one that may be the upper, one that may be the lower
    name: rf"{_WHOSE}(?:(?:normales?|normes?|intervalles?|fourchettes?){_OF}*|(?:limites?|valeurs?|bornes?|seuils?|zones?|plages?)"
    rf"(?:(?: (?:{side})){_OF}*|{_OF}+))"
    for name, side in {
        "{ref}": "hautes?|basses?|superieures?|inferieures?",
        "{haut}": "hautes?|superieures?|maximales?",
        "{bas}": "basses?|inferieures?|minimales?",
    }.items()
}
_NUMBER = re.compile(
    r"[<>≤≥~≈=]?\s*-?\d+(?:[ .,]\d+)*(?:\s*(?:-|–|a|x)\s*\d+(?:[.,]\d+)*)?"
    r"(?:\s*(?:%|‰|[a-zµ]{1,5}\s?/\s?(?:\d+(?:[.,]\d+)?\s?)?[a-z]{1,5}(?:/[\d,. ]*m²?2?)?|"
    r"(?:fl|pg|ng|mg|g|mmol|s|sec|secondes|mm|mmhg|ui|h|ans)\b))?"
)
_WORD = re.compile(r"[^\W_]+[+%]?")
_PUNCTUATION = {",": "comma", ":": "colon", "→": "colon", "(": "open", "[": "open", ")": "close", "]": "close"}


@dataclass(eq=False)
class Token:
    """A piece of a sentence. `value` holds identifiers, a flag or pairs of both; `plural` is None where the form does not tell.

    `blocked` says that it makes no statement, `negated` that a negation reaches it; `subjects` are what a description is said of;
    `bound` is an analyte that has its description, or that a list does not go on to («hormis la CRP»).
    """

    kind: str
    text: str
    value: tuple = ()
    plural: bool | None = None
    blocked: bool = False
    negated: bool = False
    bound: bool = False
    subjects: list["Token"] = field(default_factory=list)


END = Token("end", "")


@cache
def _names() -> dict[str, str]:
    known = {key(name, long): analyte for name, analyte in aliases() for long in (True, False)}
    foreign = {key(row["name"]): "" for table in ("never", "other_analytes") for row in read_table(table)}
    return {name: analyte for name, analyte in (foreign | known).items() if name not in _NOT_HERE}


@cache
def _lexicon() -> list[tuple[str, str, re.Pattern]]:
    """Kind, value and pattern of every entry of the table, alike ones in one pattern."""
    patterns: dict[tuple[str, str], list[str]] = defaultdict(list)
    stems = [(r["value"], r["pattern"]) for r in read_table("free_text") if r["kind"] == "stem"]
    stems += [(analyte, fold(name)) for name, analyte in aliases() if fold(name).endswith("emie")]
    for analyte, stem in stems:
        for prefix, flag in (("hyper", HIGH), ("hypo", LOW), ("normo", NORMAL), ("dys", ABNORMAL)):
            patterns["term", f"{analyte}={flag}"].append(rf"{prefix}[- ]?{stem}s?")
    for row in read_table("free_text"):
        if row["kind"] != "stem":
            pattern = row["pattern"]
            for name, fragment in _FRAGMENTS.items():
                pattern = pattern.replace(name, fragment)
            patterns[row["kind"], row["value"]].append(pattern)
    joined = ((*entry, "|".join(sorted(found, key=len, reverse=True))) for entry, found in patterns.items())
    return [(kind, value, re.compile(rf"(?:{found})(?:(?<=')|(?!\w))")) for kind, value, found in joined]


def _plain(text: str) -> str:
    """`text` in lower case without accents, each character in its place."""
    return "".join(unicodedata.normalize("NFD", c)[0].lower()[0] for c in text)


def _name_at(text: str, place: int) -> tuple[str, str] | None:
    """The longest name of an analyte that begins at `place` and its identifier ("" for one that is not in our tables)."""
    end, found = place, None
    for _ in range(LONGEST_NAME):
        word = _WORD.match(text, end)
        if not word:
            break
        name = text[place : word.end()]
        here, size = key(name), sum(map(str.isalnum, name))
        analyte = _names().get(here, _names().get(key(name, False)))
        if analyte is not None and (size > 2 or fold(name) in _SHORT or name[:1].isupper()) and (size > 3 or name.isascii()):
            found = (name, analyte)
        joint = re.compile(r"\.(?=\w)|['/ -](?=[^\W_])").match(text, word.end())
        if not joint:
            break
        end = joint.end()
    return found


def _word_at(plain: str, place: int) -> tuple[str, str, str]:
    """Kind, value and text of the longest entry of the table at `place`, the earlier of two as long; an unknown word is a "break"."""
    best = ("", "", "")
    for kind, value, pattern in _lexicon():
        match = pattern.match(plain, place)
        if match and len(match[0]) > len(best[2]):
            best = (kind, value, match[0])
    number = _NUMBER.match(plain, place)
    if number and len(number[0]) > len(best[2]):
        return "number", "", number[0]
    if best[0]:
        return best
    word = _WORD.match(plain, place)
    return ("break", "", word[0]) if word else (_PUNCTUATION.get(plain[place], "dash"), "", plain[place])


def tokens_of(sentence: str) -> list[Token]:
    """The pieces of one sentence, in order."""
    plain, place, found = _plain(sentence), 0, []
    while place < len(sentence):
        if sentence[place].isspace():
            place += 1
            continue
        kind, value, text = _word_at(plain, place)
        named = _name_at(sentence, place)
        if named and len(named[0]) >= len(text):
            kind, value, text = ("analyte" if named[1] else "break"), named[1], named[0]
        first = text.split(" ")[0].split("-")[0]
        token = Token(kind, text, tuple(value.split()), first[-1:] in ("s", "x") and len(first) > 3)
        if kind == "both":
            token.kind = "analyte"
        elif kind == "term":
            token.value = tuple(tuple(pair.split("=")) for pair in value.split(";"))
        elif kind == "adjective" and text == "bas" or kind == "fixed":
            token.plural = None
        elif kind == "copula":
            token.plural = value == "2"
        elif kind == "analyte" and found and found[-1].text in ("les", "des", "ces"):
            token.plural = True
        found.append(token)
        place += len(text)
    return found

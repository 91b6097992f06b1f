"""Names of analytes as reports print them: which analyte, of which specimen, or none that we know.

A name is known when the whole of it is: what the tables list, after removal of footnotes, methods and words for blood.
«Glucose urinaire» is not glucose, and «Anticorps anti-TPO» is not TP.
"""

import re
import unicodedata
from functools import cache, lru_cache

from medanalyzr.lab.references import aliases, fold, read_table

LONGEST_NAME = 90  # characters
_GREEK = str.maketrans({"α": "alpha ", "β": "beta ", "γ": "gamma ", "κ": "kappa ", "λ": "lambda ", "œ": "oe", "æ": "ae", "’": "'"})
_CODES = (*range(0x41, 0x5B), *range(0xC0, 0x180), *range(0x391, 0x3CA))
_BASE = {c: unicodedata.normalize("NFKD", chr(c))[0].lower() for c in _CODES} | str.maketrans("ØøÆæŒœ³²μ", "ooaaoo32µ")
_WORDS = {
    "hb": "hemoglobine", "poly": "polynucleaire", "polynucleaires": "polynucleaire", "pn": "polynucleaire", "neutro": "neutrophile",
    "eosino": "eosinophile", "baso": "basophile", "lympho": "lymphocyte", "mono": "monocyte", "chol": "cholesterol", "coef": "coefficient",
    "coeff": "coefficient", "sat": "saturation", "transf": "transferrine", "ac": "anticorp", "creat": "creatinine", "prot": "proteine",
    "alb": "albumine", "glyc": "glycemie", "bili": "bilirubine", "plq": "plaquette", "plaq": "plaquette", "osm": "osmolalite",
    "bicar": "bicarbonate", "bicarb": "bicarbonate", "lac": "lactate", "leuco": "leucocyte", "trigly": "triglyceride",
    "hemato": "hematie", "fibri": "fibrinogene",
    "chco3": "hco3", "sgot": "tgo", "sgpt": "tgp", "gly": "glycemie", "ddim": "ddimere", "procalc": "procalcitonine", "tropo": "troponine",
    "reticulo": "reticulocyte", "ly": "lymphocyte", "vit": "vitamine", "rbc": "hematie", "haemoglobine": "hemoglobine",
}  # fmt: skip
_METHOD = (
    r"\w+metrie|\w+metrique|\w+scopie|\w*luminescence|\w*phorese|\w+graphie|enzymatique|hexokinase|glucose oxydase|uricase|urease|biuret|jaffe|"
    r"diazoreaction|ferrozine|arsenazo|ifcc|uv|pnpp|etapes?|cv|ngsp|hplc|clhp|eclia|cmia|icma|elfa|clia|elisa|ria|irma|ise|capillaires?|compensee?|cinetique|"
    r"calcul|calculee?s?|estimee?|estimation|mesuree?|dosage|dosee?|technique|methode|automate|formule|selon|friedewald|ckd|epi|mdrd|"
    r"2009|2012|2021|clauss|quick|vert|de|du|la|le|bromocresol|pourpre|par|idms|sans|facteur|ethnique|generation|"
    r"serique|serum|plasmatique|plasma|sanguine?|sang|sur|heparine|heparinee?|edta|citratee?|tube|cobas|architect|alinity|atellica|"
    r"advia|vitros|sysmex|vidas|roche|abbott|siemens|beckman|sta|neoptimal|prest|resultat|soit"
)
_HARMLESS = re.compile(
    rf"(?:(?:{_METHOD})(?![\w])|n°\s?\d|tube\s?\d|\d(?:ere|er|re|eme|e)?(?=\s(?:generation|etapes))|"
    rf"\d+(?:[.,]\d+)?\s?(?:nm|°c|%)|[\s,.;:/'°*()\[\]-])*|\d{{1,2}}(?:\s?[,;]\s?\d{{1,2}})?|[(\[]\d{{1,2}}[)\]]"
)
_LAST = re.compile(rf"[\s,-]+(?:{_METHOD}|a jeun)\s*$|\s*[\[(][^\[\]()]*[\])]\s*$|\s*\*+\s*$|\s+t\d+h?(?:\s*\([\dh:]+\))?\s*$")
_FIRST = re.compile(r"^(?:\d{3,5}\s+|[*•–\-]+\s*|dosage (?:de la |de l'|du |des |de )|taux (?:de la |de l'|du |des |de |d'))(?=\w)")
_MOMENTS = {"t0": "glucose", "t60": "hgpo_1h", "t120": "hgpo_2h", "b": "be", "ecf": "be"}


def flat(text: str) -> str:
    """`text` in small letters without accents, every character in its place."""
    return text.translate(_BASE)


def _quick(words: str) -> re.Pattern:
    """`words` compiled, what stands before the first letters of an alternative put behind them: it is searched ten times as fast."""
    return re.compile(re.sub(r"(^|\|)(\\[bB]|\^)(\w\w)", r"\1\3(?<=\2\3)", words))


BLOOD = _quick(
    r"\bsang(?!lant)|serum|serique|plasma|hematolog|hemogramme|numeration|\bnfs\b|hemostase|coagulation|hormon|thyroid|immunolog|serolog|"
    r"enzym|hepati|martial|lipid|gaz du sang|gazometri|formule|marqueur|cardia|inflammat|vitamin|immunoglobul|proteines seriques"
)


@cache
def specimens() -> dict[str, re.Pattern]:
    """The words (folded) that name each specimen of tables/specimens.csv."""
    return {row["specimen"]: _quick(row["words"]) for row in read_table("specimens")}


@lru_cache(8192)
def specimen_of(text: str) -> str | None:
    """The specimen other than blood that `text` (folded) speaks of: "urine", "lcr" or "autre"; None where it speaks of none."""
    return next((name for name, words in specimens().items() if name != "sang" and words.search(text)), None)


def spoken_of(text: str) -> str | None:
    """The specimen that `text` (folded) speaks of, blood only where no other is named; None where it names none."""
    return specimen_of.__wrapped__(text) or ("sang" if BLOOD.search(text) else None)


@lru_cache(4096)
def harmless(text: str) -> bool:
    """Whether `text` (folded) holds methods, footnotes and words for blood alone."""
    return _HARMLESS.fullmatch(text) is not None


@lru_cache(16384)
def key(name: str, spelled_out: bool = True) -> str:
    """What is compared of a name: its words without accents, signs or spaces, abbreviated ones in full where `spelled_out`."""
    text = fold(name.translate(_GREEK)).translate(_GREEK)
    text = re.sub(r"\b(\d)(?:ere|er|re|eme|e)\b", r"\1", text)
    text = re.sub(r"(?<=[a-z])(?:\+\+|2\+)", " ion", text)
    text = re.sub(r"(?:\ba )?\b(\d{1,3})\s?h(?:eures?)?(?:00)?\b", r"\1h", re.sub(r"\b(\d+)\s?min(?:utes?)?\b", r"\1min", text))
    text = re.sub(r"(?<![a-z])([a-z])\.\s?(?=[a-z]\b)", r"\1", text)
    words = re.findall(r"[a-z0-9]+|[%#]", text)
    words = [_WORDS.get(word, word) for word in words] if spelled_out else words
    return "".join(word[:-1] if len(word) > 3 and word[-1] == "s" else word for word in words)


@cache
def _ours() -> dict[str, str]:
    listed = {key(name, long): analyte for name, analyte in aliases() for long in (False, True)}
    return listed | {"hco3": "bicarbonates", "p": "phosphore", "fe": "fer"}


@cache
def _foreign() -> frozenset[str]:
    return frozenset(key(row["name"]) for row in read_table("never")) - _ours().keys()


def analyte_of_key(name_key: str) -> tuple[bool, str | None]:
    """Whether the tables list a name with this key, and its analyte (None for a name that is none of ours)."""
    return name_key in _ours() or name_key in _foreign(), _ours().get(name_key)


@lru_cache(16384)
def known(name: str) -> str | None:
    """The identifier of the analyte that the whole of `name` stands for, or None."""
    if len(name) > LONGEST_NAME or any(sign in name for sign in "<>≤≥="):
        return None
    text = name.strip(" :\t\n")
    while text:
        for here in (key(text), key(text, False)):
            if here in _ours():
                return _ours()[here]
            if here in _foreign():
                return None
        shorter = _FIRST.sub("", fold(text)) or text
        if shorter == fold(text):
            shorter = _without_last(shorter)
        if shorter == fold(text):
            return None
        text = shorter
    return None


def _without_last(text: str) -> str:
    """`text` (folded) without its last footnote, method or word for blood; as it is where none is left."""
    ending = _LAST.search(text)
    if not ending:
        return text
    words = ending[0].strip(" []()*,-")
    rest = text[: ending.start()]
    idle = harmless(words) or ("direct" in words and re.search("hdl|ldl", rest))
    if idle or not rest:
        return rest if idle else text
    if words in ("t60", "t120") and re.fullmatch(r"(?:glycemie|glucose)(?:1h|60min|2h|120min)", key(rest)):
        return f"hgpo {words}" if (words == "t60") == key(rest).endswith(("1h", "60min")) else text
    base, same = known(rest), _ours().get(key(words))
    moment = _MOMENTS.get(key(words)) == base or (base or "").startswith("troponine") and re.match(r"t\d+h?\b", words)
    alike = base is not None and (same == base or {same, base} <= {"bicarbonates", "hco3_art"})
    return rest if base and (alike or moment) else text


_CONFUSED = str.maketrans("0158|!269", "olsbllzbg")


@cache
def _blurred() -> frozenset[str]:
    return frozenset(_blur(name) for name in _ours())


def _blur(text: str) -> str:
    return text.translate(_CONFUSED).replace("i", "l").replace("rn", "m")


@lru_cache(8192)
def damaged(name: str) -> bool:
    """Whether an unknown name would be one of ours if characters that recognition confuses were read otherwise."""
    here = key(name)
    return here not in _ours() and len(here) >= 3 and _blur(here) in _blurred()

"""What a bad scan makes of names, numbers and units: the noise of training, and the held-out noise, no confusion of which it has."""

import re
from dataclasses import replace

from medanalyzr.dataset.composer.printing import Line, Style

HELD_OUT_NOISE = {"digits": {"0": "O", "1": "lI"}, "letters": dict(zip("iléoeam", ("l", "1", "e", "0", "c", "a ", "rn"), strict=True)),
                  "units": (("l", "I"),), "point": (r" \1", r"\1 "), "gaps": 0, "often": {}}  # fmt: skip
NOISE = {"digits": {"0": "oQDØ°CUθσ@ö", "1": "|!ij¡JíîŁıιɪ¦tr", "2": "Zzƶ", "3": "EзЗε}", "4": "AhHч", "5": "Ss$§", "6": "Gbб", "7": "TY¬",
                    "8": "B&ß", "9": "gqp"},
         "letters": dict(zip("nuhdrstcgmilévpBaxEyN", ("ri", "ii", "b", "cl", "t", "5", "f", "(", "q", "nn", "j", "|", "è", "y", "p ", "8",
                                                      "o", "%", "F", "v", "M"), strict=True)),
         "units": (("m", "nn"), ("L", "|"), ("l", "|"), ("L", "!"), ("/", " / "), ("g", "q"), ("L", "["), ("g/", "g7"),
                   ("L", "1"), ("L", "i"), ("l", "t"), ("L", "£"), ("mol", "mo!")),
         "point": (r"\1\1", ";", "'", "·"), "gaps": 0.08, "often": {"1": 0.6, "0": 0.4}}  # fmt: skip


def noisy(line: Line, style: Style, noise: dict[str, object]) -> Line:
    """A line as bad recognition leaves it, with the confusions of `noise`; a value keeps one reading."""
    if line.m is None:
        return line

    alike = noise["gaps"] and style.aside % 4 == 0  # one sign for each digit in the whole report

    def sign(c: str) -> str:
        drawn = style.rng.choice(noise["digits"].get(c, c))
        return style.kept.setdefault(f"sign {c}", drawn) if alike else drawn

    def digits(text: str) -> str:
        often = noise["often"] | {"1": 0.85} if alike else noise["often"]
        found = [sign(c) if style.chance(often.get(c, 0.3)) else c for c in text]
        return "".join(found) if any(map(str.isdigit, found)) else text

    def letters(text: str) -> str:
        places = [i for i, c in enumerate(text) if c in noise["letters"] and i]
        if len(text) < 5 or not places or not style.chance(0.4):
            return text
        i = style.rng.choice(places)
        return text[:i] + noise["letters"][text[i]] + text[i + 1 :]

    value, name = digits(line.value), letters(line.name)
    if style.chance(0.1):
        value = re.sub(rf"(?<=\d)([{style.point}])(?=\d)", style.rng.choice(noise["point"]), value)
    if (whole := re.match(rf"\D?(\d{{2,}})(?=[{style.point}]\d)", value)) and noise["gaps"] and style.chance(noise["gaps"]):
        at = style.rng.randint(whole.start(1) + 1, whole.end(1) - 1)
        value = f"{value[:at]} {value[at:]}"
    interval, unit, pairs = digits(line.interval), line.unit, noise["units"]
    if style.chance(0.3):
        unit = unit.replace(*(style.rng.choice(pairs) if len(pairs) > 1 else pairs[0]))
    earlier = tuple(map(digits, line.earlier)) if noise["gaps"] else line.earlier
    return replace(line, m=replace(line.m, name=name), name=name, value=value, interval=interval, unit=unit, earlier=earlier)

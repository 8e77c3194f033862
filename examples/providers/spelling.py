"""How opticians spell things, in English, German and French: the patterns that `prescription` reads with.

Laws of this file:
- `normalised` changes spelling only, never a value: decimal commas, Unicode signs, plano and its like.
- A mark of an eye counts only where a value follows, so that "le 12 mars" or "R. Street 4" is no eye.
"""

import re
import unicodedata

# A number is taken whole or not at all: never "-0" out of "-0.50x90".
_DIGITS = r"\d{1,4}(?:\.\d{1,3})?(?!\.?\d)"
_NUMBER = rf"[+-]?{_DIGITS}"
_GAP = r"[\s/,;|=*_]*"
_UNIT = r"(?:\s*(?:dpts?|dptr|dsph|dcyl|ds|dc|d)(?![a-z])\.?)?"
_NO_OTHER_UNIT = r"(?!\s*(?:mm|pr|pdpt|Δ|cm/m))"
_SAME_WORDS = r"(?:idem|dito|ditto|same|gleich|identique|dto)"

# The start of a lens: signed, decimal, a lone zero, an axis before the rest, a prism, or a word for "the same".
_VALUE_AHEAD = (
    rf"(?=\(?\s*(?:[+-]\d|\d{{1,2}}\.\d|0(?![\d.])|\d{{1,3}}\s*°|{_SAME_WORDS}\b)|prism\w*\s*\d|[+-]?\d{{1,2}}\s*prism)"
)
_BOTH = (
    r"o\.?u\.?|o\.?d\.?g\.?|both(?:\s+eyes)?|beide(?:\s+augen)?|bds\.?|les\s+deux(?:\s+yeux)?|r\s*[/+&=]\s*l"
    r"|o\.?d\.?\s*[/+&=]\s*o\.?[sg]\.?"
)
_RIGHT = r"o\.?d\.?|(?-i:RE|R\.?A\.?)|r|right(?:\s+eye)?|rechts|rechtes\s+auge|(?:(?:oeil|œil)\s+)?droite?"
_LEFT = r"o\.?s\.?|o\.?g\.?|(?-i:LE|L\.?A\.?)|l|left(?:\s+eye)?|links|linkes\s+auge|(?:(?:oeil|œil)\s+)?gauche"

EYE = re.compile(
    rf"(?<![\w.])(?:(?P<both>{_BOTH})|(?P<right>{_RIGHT})|(?P<left>{_LEFT}))(?![a-z])"
    rf"[\s:=.)\]*_|>~]*(?:\([a-z]{{1,2}}\)[\s:]*)?(?:sp[hä]\w*[\s:=.]*)?{_VALUE_AHEAD}",
    re.IGNORECASE,
)

SAME = re.compile(rf"\(?\s*{_SAME_WORDS}\b", re.IGNORECASE)

_AXIS_WORD = r"(?:x|×|@|ax(?:is|e)?|achse|tabo|at|à|a)"
_CYLINDER_WORD = r"(?:(?:cyl|zyl|cil)\w*|c|comb\w*|with|avec|mit)"

LENS = re.compile(
    rf"\s*(?P<sphere>{_NUMBER}){_UNIT}(?:\s*sph\w*\.?)?"
    rf"(?:{_GAP}\(?\s*(?:{_CYLINDER_WORD}[\s:=.]*)*(?P<cylinder>{_NUMBER})(?!\s*°){_NO_OTHER_UNIT}{_UNIT}(?:\s*cyl\w*\.?)?"
    rf"(?:{_GAP}(?:{_AXIS_WORD}[\s:=.]*)?(?P<axis>\d{{1,3}})(?!\.?\d){_NO_OTHER_UNIT})?)?",
    re.IGNORECASE,
)

# French: the cylinder and its axis in parentheses before the sphere.
LENS_AXIS_FIRST = re.compile(
    rf"\s*\(\s*(?P<cylinder>[+-]{_DIGITS})\s*{_AXIS_WORD}?\s*(?P<axis>\d{{1,3}})\s*°?\s*\)\s*(?P<sphere>{_NUMBER})",
    re.IGNORECASE,
)

# French of older days: the axis, the cylinder in parentheses, the sphere.
LENS_AXIS_OUTSIDE = re.compile(
    rf"\s*(?P<axis>\d{{1,3}})\s*°\s*\(?\s*(?P<cylinder>[+-]{_DIGITS})\s*\)?\s*(?P<sphere>[+-]{_DIGITS})",
    re.IGNORECASE,
)

# A cylinder or an axis that is mentioned, but not in a way that LENS could take in; dashes and "none" mention nothing.
STRAY = re.compile(
    rf"{_GAP}\(?\s*(?:(?:cyl|zyl|cil)\w*[\s:=.]*(?!\s|[:=.]|-+(?!\d)|none|kein|sans|aucun|[/|,;]|$)|(?:ax\w*|achse|x)[\s:=.]*\d)",
    re.IGNORECASE,
)

_PD_WORD = (
    r"p\.?\s?d\.?|i\.?p\.?d\.?|pupil\w*\s+dist\w*|pupillendistanz|augenabstand|e\.?p\.?"
    r"|[ée]cart(?:\s+pupillaire)?|d\.?i\.?p\.?"
)
PD = re.compile(
    rf"(?<![a-z])(?:{_PD_WORD})[\s:=.]*(?:(?:nah|near|fern|far)\b[\s:=]*)?(?:(?:r|od|re|right)[\s:=]*)?(?P<first>\d{{2,3}}(?:\.\d)?)\s*(?:mm)?"
    r"(?:[\s/|,;+-]*(?:(?:l|os|og|le|left)[\s:=]*)?(?<!\d)(?P<second>\d{2}(?:\.\d)?)(?!\.?\d)(?:\s*mm)?)?",
    re.IGNORECASE,
)

ADD = re.compile(
    r"(?<![a-z])(?:add(?:ition)?|nahzusatz|zusatz|near\s+add)\b[\s:=.]*(?:(?:ou|r\s*/\s*l|od|os|og)[\s:=]*)?"
    rf"(?P<value>{_NUMBER}){_UNIT}",
    re.IGNORECASE,
)

_PRISM_UNIT = r"(?:Δ|pdpt|cm/m)"
_BASE = r"(?:BI|BO|BU|BD|(?:base|basis)[\s:]*(?:\d{1,3}\s*°?|[^\W\d]+))"
PRISM = re.compile(
    rf"(?:(?<![\d.+-])(?P<before>\d{{1,2}}(?:\.\d{{1,2}})?)\s*(?:{_PRISM_UNIT}|pr(?:ism\w*)?\b\.?)"
    rf"|pr(?:ism\w*)?\b[\s:=.]*(?P<after>\d{{1,2}}(?:\.\d{{1,2}})?)\s*{_PRISM_UNIT}?)[\s,]*(?P<base>{_BASE})?",
    re.IGNORECASE,
)

_SPELLINGS = (
    (re.compile(r"[\u2010-\u2015\u2212\uFE63\uFF0D]"), "-"),  # every kind of dash is a minus
    (re.compile(r"[→⇒]|->|=>"), ":"),
    (re.compile(r"(?<=\d)\s*[,·]\s*(?=\d{1,2}(?!\d))(?<! )"), "."),
    (re.compile(r"(?<=\d)\.\.+(?=\d)"), "."),
    (re.compile(r"(?<=[+-])\s*[oO](?=[.,]\d)"), "0"),
    (re.compile(r"(?<=[+-]0),(?=\d)"), "."),
    (re.compile(r"(?<![a-z])(?:minus|moins)\s*(?=[\d.])", re.IGNORECASE), "-"),
    (re.compile(r"(?<![a-z])plus\s*(?=[\d.])", re.IGNORECASE), "+"),
    (re.compile(r"-\s+(?=[+-])"), " "),  # a dash that only separates
    (re.compile(r"(?<=[+-])\s+(?=[\d.])"), ""),
    (re.compile(r"(?<![\d])\.(?=\d)"), "0."),
    (re.compile(r"±\s*0(?:\.0+)?(?!\d)"), "+0.00"),
    (re.compile(r"(?<![a-zé])(?:plano|plan|pl|neutre|neutral)(?![a-zé])\.?|∞", re.IGNORECASE), "+0.00"),
)


def normalised(note: str) -> str:
    """Spell `note` in the one way that the patterns know."""
    text = unicodedata.normalize("NFKC", note)
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    return text

"""English spelling to sounds by letter rules: rough, but it puts lips, teeth and jaw where a reader expects them."""

from __future__ import annotations

import re

from emo_avatar.data.phonemes import PAUSE

# Longest match first; a rule is "letters: sounds". Exceptions are whole words. Diphthongs are written as two vowels.
# fmt: off
_WORDS = {
    "a": "AH", "i": "AA IY", "the": "DH AH", "of": "AH V", "to": "T UW", "do": "D UW", "who": "HH UW", "you": "Y UW",
    "your": "Y AO R", "are": "AA R", "was": "W AA Z", "were": "W ER", "what": "W AH T", "one": "W AH N", "two": "T UW",
    "said": "S EH D", "have": "HH AE V", "give": "G IH V", "live": "L IH V", "some": "S AH M", "come": "K AH M",
    "there": "DH EH R", "they": "DH EH IY", "is": "IH Z", "his": "HH IH Z", "as": "AE Z", "has": "HH AE Z",
    "my": "M AA IY", "by": "B AA IY", "why": "W AA IY", "be": "B IY", "me": "M IY", "we": "W IY", "he": "HH IY",
    "she": "SH IY", "people": "P IY P AH L", "eye": "AA IY", "eyes": "AA IY Z", "hello": "HH EH L OW",
    "world": "W ER L D", "could": "K UH D", "would": "W UH D", "should": "SH UH D", "know": "N OW",
}
_LETTERS = {
    "tion": "SH AH N", "sion": "ZH AH N", "ough": "AO", "augh": "AO", "eigh": "EH IY", "igh": "AA IY", "tch": "CH",
    "sch": "S K", "dge": "JH", "air": "EH R", "ear": "IY R", "eer": "IY R", "our": "AA UW R", "oor": "AO R",
    "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K", "ng": "NG", "nk": "NG K", "qu": "K W",
    "wr": "R", "kn": "N", "gh": "G", "mb": "M", "ee": "IY", "ea": "IY", "ie": "IY", "ei": "IY", "ey": "IY",
    "oo": "UW", "ou": "AA UW", "ow": "OW", "oa": "OW", "oe": "OW", "oi": "AO IY", "oy": "AO IY", "ai": "EH IY",
    "ay": "EH IY", "au": "AO", "aw": "AO", "ue": "UW", "ew": "Y UW", "ui": "UW", "ar": "AA R", "er": "ER", "ir": "ER",
    "or": "AO R", "ur": "ER", "bb": "B", "dd": "D", "ff": "F", "gg": "G", "ll": "L", "mm": "M", "nn": "N", "pp": "P",
    "rr": "R", "ss": "S", "tt": "T", "zz": "Z", "cc": "K", "ce": "S EH", "ci": "S IH", "cy": "S IY", "a": "AE",
    "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L",
    "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W",
    "x": "K S", "y": "IY", "z": "Z",
}
_LONG_VOWELS = {"a": "EH IY", "e": "IY", "i": "AA IY", "o": "OW", "u": "UW"}  # before consonant and silent e
# fmt: on
_SAME_LIPS = {"DH": "TH", "ZH": "SH"}  # voiced twins that the inventory does not list
_TOKENS = re.compile(r"[a-z']+|[.,;:!?\n-]+")
_LETTER_RULE = re.compile("|".join(sorted(_LETTERS, key=len, reverse=True)))


def phonemes_of_text(text: str) -> list[str]:
    """ARPAbet symbols of an English text; punctuation becomes a pause, anything but letters is passed over."""
    sounds: list[str] = []
    for token in _TOKENS.findall(text.lower()):
        sounds += _word(token.replace("'", "")) if token[0].isalpha() or token[0] == "'" else [PAUSE]
    return [_SAME_LIPS.get(sound, sound) for sound in sounds]


def _word(word: str) -> list[str]:
    if word in _WORDS:
        return _WORDS[word].split()
    sounds: list[str] = []
    silent_e = re.fullmatch(r".*[aeiouy].*[^aeiouy]e", word)
    long_vowel = re.fullmatch(r"(.*?)([aeiou])[bcdfgklmnpstvz]e", word)
    if long_vowel:
        head, vowel, consonant = long_vowel[1], long_vowel[2], word[-2]
        soft = {"c": "S", "g": "JH", "s": "Z"}.get(consonant, _LETTERS[consonant])
        return _spell(head) + _LONG_VOWELS[vowel].split() + [soft]
    sounds += _spell(word[:-1] if silent_e else word)
    return sounds


def _spell(letters: str) -> list[str]:
    return [sound for rule in _LETTER_RULE.findall(letters) for sound in _LETTERS[rule].split()]

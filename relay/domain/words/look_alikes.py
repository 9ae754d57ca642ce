"""Characters that a reader takes for a Latin letter although no decomposition of Unicode says so.

What NFKD already folds (full-width, mathematical, circled, accented) is not here. Nor is a letter of a Nigerian
orthography (the hooked letters of Hausa, the open vowels, eng): those are other letters. What Unicode's own names say
is read from them by :func:`read_name`; the table has the shapes that no name tells.

Source: shapes in the Unicode code charts; where Unicode's own list of confusables (UTS #39) has the character, the
letter here is the one there, but for small Cyrillic letters that copy a small capital (en is read as h), digits, which
count by their value, and letters with a stroke, which that list leaves out.
"""

import re
from unicodedata import category, lookup, name, numeric

I_OR_L = "\u026a"
"""In a folded copy: a shape that may be meant as an i or as an l (a capital I between small letters, a palochka)."""

# Cent, pound, yen, baht, colon, naira, won, dong, euro, kip, tugrik, peso, guarani, austral, cedi, rupee, bitcoin,
# franc, mill, hryvnia.
_MARKS = "@$!|\u00a1\u00a9\u00ae\u00d7"
_MONEY = (
    "\u00a2\u00a3\u00a5\u0e3f\u20a1\u20a6\u20a9\u20ab\u20ac\u20ad\u20ae\u20b1\u20b2\u20b3\u20b5\u20b9\u20bf"
    "\u20a3\u20a5\u20b4"
)
MARK_LETTERS = dict(zip(_MARKS + _MONEY, "asiiicrx" + "clybcnwdektpgacrbfms", strict=True))
"""Marks that are used for letters inside a word: such a word is read with the letter, and parted at the mark."""

# Letter: code points. Cyrillic, Greek, letters with a stroke, small capitals, Armenian, Cherokee, Lisu, syllabics; and
# what generators of "fancy text" take from scripts whose letters are none of ours.
_SHAPES = {
    "a": (
        "2c80 0410 0430 0391 03b1 039b 0251 1d00 2c65 023a 13aa a4ee 15c5 15e9 237a 16f40 102a0 0394 ab7a "
        "0e04 5342 120d 10d0"
    ),
    "b": (
        "0412 0432 042c 044c 0392 03b2 0180 0243 0299 0184 a7b4 13f4 a4d0 15f7 13cf 1472 15af 10282 102a1 "
        "10301 2c82 044a 0431 4e43 130c 048d 0462 0463"
    ),
    "c": (
        "0421 0441 03f2 03f9 023b 023c a793 1d04 2ca5 2ca4 13df abaf a4da 1455 1043d 1f74c 118f2 102a2 "
        "10302 1051c 03c2 122d 1348 531a"
    ),
    "d": "2c86 03b4 0500 0501 0110 0111 1d05 13a0 a4d3 a4d2 15ea 15de 13e7 146f 00f0 13b4 12d5 056a 2202",
    "e": (
        "0415 0435 04bc 04bd 0395 03b5 03a3 0246 0247 1d07 212e 13ac a4f0 ab32 22ff 2d39 118a6 118ae 10286 "
        "2c88 0404 0454 039e 4e47 127f 10d4 13cb 2208"
    ),
    "f": (
        "0492 0493 03dc 0191 0192 a798 a799 a730 a4dd 15b4 ab35 0584 1d213 118c2 10287 102a5 10525 5343 127b 0284 13a6"
    ),
    "g": "050c 050d 0261 01e4 01e5 0262 1d83 0581 13c0 13f3 a4d6 018d 13b6 1297",
    "h": ("041d 043d 04ba 04bb 0397 0126 0127 029c 0570 13bb 13c2 a4e7 157c 2c8e 102cf 03e9 5344 12d8 0267 0452"),
    "i": "0130 0131 0456 03b9 0268 0269 1d7b a647 13a5 ab75 130e 4e28",
    "j": ("0408 0458 037f 03f3 0237 0248 0249 1d0a a7b2 13ab a4d9 148d 30d5 12d3 05e0 10f0 130b 13e0 0286"),
    "k": "041a 043a 039a 03ba a740 a741 1d0b 13e6 a4d7 2c94 16d5 10518 1315",
    "l": "03bb 2c96 0141 0142 019a 023d 029f 2c60 2c61 13de a4e1 14aa 053c 056c 1228 3125",
    "m": "041c 043c 039c 03fa 1d0d 13b7 a4df 15f0 2c98 16d6 102b0 10311 722a 1320 028d 10db",
    "n": "0418 0438 039d 03b7 0274 0578 057c a4e0 144e 2c9a 10513 043f 03c0 2ca0 51e0 12ad 0e20 0572 13c1",
    "o": (
        "041e 043e 039f 03bf 03c3 00d8 00f8 1d0f 1d11 0555 0585 a4f3 2c9e 2c9f 0c02 0c82 0d02 0d82 ab3d "
        "10ff 0d20 101d 104ea 118c8 118d7 1042c 2d54 12d0 0b20 104c2 118b5 10292 102ab 10516 2c90 03b8 0398 "
        "25cb 25ef 2b55 26aa 2205 2218 0e4f 3116 10dd 13a7 13a4 1030f 05e1 0647"
    ),
    "p": (
        "0420 0440 03a1 03c1 03f1 1d18 1d7d 2c63 2ca2 2ca3 13e2 a4d1 146d 2374 10295 00fe 00de 5369 12e8 "
        "2118 05e7 13ae 102af"
    ),
    "q": "051a 051b 0563 0566 2d55 03e5 12d2 146b",
    "r": (
        "042f 044f 0433 024c 024d 0280 01a6 1d26 13a1 13d2 ab81 a4e3 1587 ab47 ab48 2c84 1d216 104b4 16f35 "
        "0393 5c3a 12ea 0f5e"
    ),
    "s": "0405 0455 01bd a731 054f 13da 13d5 abaa a4e2 118c1 10448 16f3a 10296 4e02 1290 0586 01a7",
    "t": (
        "0422 0442 03a4 03c4 0166 0167 2c66 023e 1d1b 13a2 a4d4 22a4 27d9 1f768 2ca6 16f0a 118bc 10297 "
        "102b1 10315 03ef 3112 1355 0567 13d6 0547"
    ),
    "u": (
        "03c5 0244 0289 028b 1d1c 054d 057d a4f4 144c a79f ab4e ab52 104f6 118d8 222a 22c3 1200 104ce 16f42 "
        "03bc 0446 045f 3129 1201 0e22 13ec 0574 028a"
    ),
    "v": ("0474 0475 03bd 1d20 13d9 aba9 a4e6 142f 2228 22c1 11706 118c0 1d20d 2d38 a6df 16f08 1051d 13c9 05e9"),
    "w": (
        "051c 051d 0461 03c9 026f 1d21 0561 13b3 13d4 ab83 a4ea 15ef 1170a 1170e 1170f 118ef 2cb0 03e3 0448 "
        "0449 5c71 1220 13c7 0e2c"
    ),
    "x": (
        "0425 0445 03a7 03c7 a7b3 2cac a4eb 166d 157d 166e 292b 292c 2a2f 1541 2573 10322 118ec 2d5d 16b7 "
        "10290 102b4 10317 10527 03eb 4e42 1238 0416"
    ),
    "y": (
        "0423 0443 04ae 04af 03a5 03b3 03d2 024e 024f 028f 0263 13a9 13bd 2ca8 a4ec ab5a 10e7 118dc 16f43 "
        "118a4 102b2 04b1 311a 1203 057e 05e5"
    ),
    "z": "0396 01b5 01b6 1d22 13c3 ab93 a4dc 2c8c 118c4 102f5 118a9 03b6 4e59 130a 10f3",
    I_OR_L: (
        "026a 0406 04c0 04cf 0399 0196 01c0 2c92 a4f2 10320 2d4f 16c1 16f28 1028a 10309 1d22a 2cd0 16f16 "
        "118a3 118b2 1041b 10526 2373 05d5 05df 0627 07ca"
    ),
    "'": "2018 2019 201b 02b9 02bb 02bc 02bd 02c8 2032 2035 0060 00b4 02ca 02cb a78c 055a 05f3",
    "-": "2010 2011 2012 2212 02d7 2043 06d4",
    "|": "00a6 05c0 2223 2502 2758 23fd 2016 2551 2759 275a 23ae 23d0 2503 257d 258f 2595 fe31",
    "0": "3007",
    "3": "0417 0437 04e1 021c 021d",
    # Marks that NFKD would turn into letters of the word before them, and a blank that is no white space.
    " ": "2122 2120 2800",
    # Fillers that take no room.
    "": "115f 1160 3164 ffa0",
}

_LISTED = {chr(int(point, 16)): letter for letter, points in _SHAPES.items() for point in points.split()}

LOOK_ALIKES: dict[str, str] = {
    # Where only one case of a letter is listed, the other one is read like it.
    **{
        other: letter
        for character, letter in _LISTED.items()
        if len(other := character.swapcase()) == 1 and not other.isascii()
    },
    **_LISTED,
}
"""Character: what it is read as."""

REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)
"""Letters in boxes, of which two in a row are also a flag."""

_ENCLOSED = range(0x1F100, 0x1F200)
_SQUARED_WORD = re.compile(r"(?:NEGATIVE )?SQUARED ([A-Z]{2,})")
"""FREE, NEW, COOL, each as one picture."""

_OTHER_LETTERS = frozenset("\u0181\u018a\u0198\u01b3\u0253\u0257\u0199\u01b4")
"""The hooked letters of Hausa."""

_PLAIN_NAME = re.compile(
    r"(?:REGIONAL INDICATOR SYMBOL LETTER"
    r"|(?:NEGATIVE CIRCLED|(?:CROSSED )?NEGATIVE SQUARED) LATIN CAPITAL LETTER"
    r"|LATIN LETTER SMALL CAPITAL"
    r"|LATIN (?:SMALL|CAPITAL) LETTER(?: BARRED| BLACKLETTER| INSULAR| LENIS| SCRIPT)?) ([A-Z])"
)


def read_name(character: str) -> str | None:
    """What a character that is in no table is read as; ``None`` if it is read as itself.

    A digit of any script is read by its value, a letter in a box as the letter, a word in a box as the word, a letter
    "with" something as the letter without.

    Example:
        >>> read_name("\u0967"), read_name("\U0001f1f5"), read_name("\u049b"), read_name("\u0253")
        ('1', 'p', 'k', None)
    """
    value = numeric(character, 0.5)
    if category(character) in ("Nd", "No") and value.is_integer():
        return str(int(value))
    if character in _OTHER_LETTERS:
        return None
    plain, _, addition = name(character, "").partition(" WITH ")
    if ord(character) in _ENCLOSED and (word := _SQUARED_WORD.fullmatch(plain)) is not None:
        return f" {word[1].lower()} "
    found = _PLAIN_NAME.fullmatch(plain)
    if found is not None:
        return found[1].lower()
    try:
        return LOOK_ALIKES.get(lookup(plain)) if addition else None
    except KeyError:
        return None

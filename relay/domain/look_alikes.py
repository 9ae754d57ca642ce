"""Characters that a reader takes for a Latin letter although no decomposition of Unicode says so.

Owns the shapes only: what NFKD already folds (full-width, mathematical, circled, accented) is not here. Nor is a
letter of a Nigerian orthography (the hooked letters of Hausa, the open vowels, eng): those are other letters.

Source: shapes in the Unicode code charts; where Unicode's own list of confusables (UTS #39) has the character, the
letter here is the one there, but for small Cyrillic letters that copy a small capital (en is read as h) and letters
with a stroke, which that list leaves out.
"""

I_OR_L = "\u026a"
"""In a folded copy: a shape that may be meant as an i or as an l (a capital I between small letters, a palochka)."""

MARK_LETTERS = {"@": "a", "$": "s", "!": "i", "|": "i", "\u20ac": "e", "\u20a6": "n", "\u00a2": "c"}
"""Marks that are used for letters inside a word (euro for e, naira for n, cent for c)."""

# Letter: code points. Cyrillic, Greek, letters with a stroke, small capitals, Armenian, Cherokee, Lisu, syllabics.
_SHAPES = {
    "a": "0410 0430 0391 03b1 039b 0251 1d00 2c65 023a 13aa a4ee 15c5 15e9",
    "b": "0412 0432 042c 044c 0392 03b2 0180 0243 0299 0184 a7b4 13f4 a4d0 15f7",
    "c": "0421 0441 03f2 03f9 023b 023c a793 1d04 2ca5 2ca4 13df abaf a4da 1455",
    "d": "0500 0501 0110 0111 1d05 13a0 a4d3 a4d2 15ea 15de",
    "e": "0415 0435 04bc 04bd 0395 03b5 03a3 0246 0247 1d07 212e 13ac a4f0",
    "f": "0492 0493 03dc 0191 0192 a798 a799 a730 a4dd 15b4",
    "g": "050c 050d 0261 01e4 01e5 0262 1d83 0581 13c0 13f3 a4d6",
    "h": "041d 043d 04ba 04bb 0397 0126 0127 029c 0570 13bb 13c2 a4e7 157c",
    "i": "0131 0456 03b9 0268 0269 1d7b a647 13a5 ab75",
    "j": "0408 0458 037f 03f3 0237 0248 0249 1d0a a7b2 13ab a4d9 148d",
    "k": "041a 043a 039a 03ba a740 a741 1d0b 13e6 a4d7",
    "l": "0141 0142 019a 023d 029f 2c60 2c61 13de a4e1 14aa",
    "m": "041c 043c 039c 03fa 1d0d 13b7 a4df 15f0",
    "n": "0418 0438 039d 03b7 0274 0578 057c a4e0 144e",
    "o": "041e 043e 039f 03bf 03c3 00d8 00f8 1d0f 1d11 0555 0585 a4f3 2c9e 2c9f",
    "p": "0420 0440 03a1 03c1 03f1 1d18 1d7d 2c63 2ca2 2ca3 13e2 a4d1 146d",
    "q": "051a 051b 0563 0566",
    "r": "042f 044f 0433 024c 024d 0280 01a6 1d26 13a1 13d2 ab81 a4e3 1587",
    "s": "0405 0455 01bd a731 054f 13da 13d5 abaa a4e2",
    "t": "0422 0442 03a4 03c4 0166 0167 2c66 023e 1d1b 13a2 a4d4",
    "u": "03c5 0244 0289 028b 1d1c 054d 057d a4f4 144c",
    "v": "0474 0475 03bd 1d20 13d9 aba9 a4e6 142f",
    "w": "051c 051d 0461 03c9 026f 1d21 0561 13b3 13d4 ab83 a4ea 15ef",
    "x": "0425 0445 03a7 03c7 a7b3 2cac a4eb 166d 157d",
    "y": "0423 0443 04ae 04af 03a5 03b3 03d2 024e 024f 028f 0263 13a9 13bd 2ca8 a4ec",
    "z": "0396 01b5 01b6 1d22 13c3 ab93 a4dc",
    I_OR_L: "026a 0406 04c0 04cf 0399 0196 01c0 2c92 a4f2",
    "'": "2018 2019 201b 02b9 02bb 02bc 02bd 02c8 2032 2035 0060 00b4 02ca 02cb a78c 055a 05f3",
    "-": "2010 2011 2012 2212 02d7 2043 06d4",
    # Marks that NFKD would turn into letters of the word before them, and a blank that is no white space.
    " ": "2122 2120 2800",
    # Fillers that take no room.
    "": "115f 1160 3164 ffa0",
}

# Negative circled, negative squared: 26 capital letters in a row each.
_RANGES = (0x1F150, 0x1F170)

LOOK_ALIKES: dict[str, str] = {
    **{chr(int(point, 16)): letter for letter, points in _SHAPES.items() for point in points.split()},
    **{chr(first + index): chr(ord("a") + index) for first in _RANGES for index in range(26)},
}
"""Character: what it is read as."""

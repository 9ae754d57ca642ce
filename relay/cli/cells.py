"""What may stand in a cell that goes out, as it is or in the words of a text."""

import re

from relay.cli.records import LINE_END

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_NOTHING = re.compile(
    r"#(?:[^\W\d_]+(?:/[^\W\d_0]*0?)?[!?]|[A-Z]/[A-Z]|N/?[ADV]|#+|GETTING_DATA|\u041d/\u0414)|Err:\d{3}|Loading\.\.\."
    r"|NULL|null|\(null\)|[<[](?:NA|NULL|null|none)[]>]|\(blank\)|nan|NaN|NaT|undefined|\[object Object\]|\\N"
)
"""What spreadsheets and programs write where they have no value (a person called Null is written otherwise): "#N/A" and
"#REF!" in the languages that spreadsheets speak, "Err:502", "<NA>"."""

_FORMULA = re.compile(r"=(?:[A-Z][A-Z.]*\(|\$?[A-Z]{1,3}\$?[0-9]|\").*")

_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d{1,2}")
"""A long number as a spreadsheet shows and saves it: its last digits are gone."""

_DECIMAL = re.compile(r"[+'\u2019]?\d{6,}[.,]0{1,2}")
"""A number as a program saves one that it took for an amount; read as digits, its nought would be one more of them."""

_NOT_ASCII = re.compile(r"[^\x00-\x7f]{2,}")

_QUESTION_MARK = re.compile(r"(?<![^\s-])\?[^\W\d_]|[^\W\d_]\?[^\W\d_]")
"""A letter that another encoding does not have, as a spreadsheet saves it: "Ad?b?y?", "?lá"."""

_IN_ADDRESSES = re.compile(r"[/=&]|www\.")


def find_wrong_cell(cell: str) -> tuple[str, str] | None:
    """What is wrong with a cell that is used, and the remedy."""
    if not cell.strip():
        return "the cell is empty", "Fill it, or take the line out; --allow-empty lets a text go out without the words."
    if LINE_END.search(cell):
        return "a line break stands in the cell", "Close the quote where the cell ends, or put a blank for the break."
    if _CONTROL.search(cell):
        return "a control character stands in the cell", "Take it out."
    if _NOTHING.fullmatch(cell.strip()):
        return "the cell holds a program's word for no value", "Fill it, or empty it and give --allow-empty."
    if _FORMULA.fullmatch(cell.strip()):
        return "the cell holds a formula, not its value", "Export the values."
    if "\ufffd" in cell or (_QUESTION_MARK.search(cell) and not _IN_ADDRESSES.search(cell)):
        return "a character was lost when the file was saved", "Write the cell anew and save as “CSV UTF-8”."
    if is_garbled(cell):
        what = "letters were garbled when the file was saved: UTF-8 was read as Windows-1252"
        return what, "Open the source as UTF-8, and save as “CSV UTF-8”."
    return None


def find_wrong_number(cell: str) -> tuple[str, str] | None:
    """What a spreadsheet did to a number so that its digits are no longer those that somebody entered."""
    if _ROUNDED.fullmatch(cell.strip()):
        return "the spreadsheet rounded this number", "Format the column as text, and export it anew."
    if _DECIMAL.fullmatch(cell.strip()):
        return "the number was saved as an amount, with decimals", "Format the column as text, and export it anew."
    return None


def is_garbled(text: str) -> bool:
    """Whether bytes of UTF-8 were taken for letters of Windows-1252.

    Example:
        >>> is_garbled("Zo\u00c3\u00ab"), is_garbled("Zo\u00eb \u00c9\u00e9")
        (True, False)
    """
    for found in _NOT_ASCII.findall(text):
        try:
            found.encode("cp1252").decode()
        except UnicodeError:
            continue
        return True
    return False

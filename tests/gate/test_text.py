from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from edgetl.gate.text import markdown_text, one_line, xml_text


@given(st.text())
def test_any_name_survives_xml_or_is_replaced(name):
    # A carriage return is one of the characters that XML itself turns into another.
    element = ElementTree.Element("a", name=xml_text(name))
    again = ElementTree.fromstring(ElementTree.tostring(element, encoding="utf-8"))
    assert len(again.get("name") or "") == len(name)


@given(st.text())
def test_one_line_is_one_line(name):
    assert len(one_line(name).splitlines()) <= 1
    assert one_line(one_line(name)) == one_line(name)


@given(st.text(alphabet="<>&|`*_[]\\a\n"))
def test_no_name_opens_a_tag_or_a_cell(name):
    text = markdown_text(name)
    assert "<" not in text and "\n" not in text
    # Every mark has an odd number of backslashes before it: it is escaped.
    for at, sign in enumerate(text):
        if sign in "`*_[]|":
            before = text[:at]
            assert (len(before) - len(before.rstrip("\\"))) % 2 == 1

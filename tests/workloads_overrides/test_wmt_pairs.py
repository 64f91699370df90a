"""Reading and cleaning pairs of strings."""

import gettext
import io
import json

import pytest
import wmt_data

from workloads_overrides.small.wmt.cleaning import MAX_CHARACTERS, clean
from workloads_overrides.small.wmt.pairs import (
    Pair,
    parse_catalogue,
    read_home_assistant,
    read_indico,
)

ENTRIES = {
    "Delete": "Löschen",
    "Agreement\x04Accepted": "Angenommen",
    "{n} day\0{n} days": "{n} Tag\0{n} Tage",
    "": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n",
}


def test_a_catalogue_gives_its_pairs_without_contexts_plurals_each():
    assert parse_catalogue(wmt_data.catalogue(ENTRIES)) == [
        Pair("Angenommen", "Accepted"),
        Pair("Löschen", "Delete"),
        Pair("{n} Tag", "{n} day"),
        Pair("{n} Tage", "{n} days"),
    ]


def test_the_made_up_catalogue_is_gettexts():
    theirs = gettext.GNUTranslations(io.BytesIO(wmt_data.catalogue(ENTRIES)))
    assert theirs.gettext("Delete") == "Löschen"
    assert theirs.pgettext("Agreement", "Accepted") == "Angenommen"
    assert theirs.ngettext("{n} day", "{n} days", 2) == "{n} Tage"


def test_what_is_no_catalogue():
    with pytest.raises(ValueError, match="starts with 0x"):
        parse_catalogue(b"x" * 40)
    for end in (3, 30, 60):
        with pytest.raises(ValueError, match="cut short"):
            parse_catalogue(wmt_data.catalogue(ENTRIES)[:end])


def test_indico(tmp_path):
    path = tmp_path / "indico-3.3.14-py3-none-any.whl"
    wmt_data.write_wheel(path, {wmt_data.CATALOGUE: wmt_data.catalogue(ENTRIES), "other.mo": b""})
    assert read_indico(path)[1] == Pair("Löschen", "Delete")


def test_home_assistant_pairs_by_path_of_keys(tmp_path):
    def both(component, german, english, prefix=""):
        folder = f"homeassistant/components/{component}/translations/{prefix}"
        texts = {"de.json": german, "en.json": english}
        return {folder + name: json.dumps(text) for name, text in texts.items() if text}

    files = {
        **both(
            "b", {"x": {"y": "b1", "z": "only German"}}, {"x": {"q": "only English", "y": "B1"}}
        ),
        **both("a", {"x": "a1", "list": ["no", "text"]}, {"x": "A1", "list": ["is", "here"]}),
        **both("a", {"x": "a2"}, {"x": "A2"}, prefix="sensor."),
        **both("c", {"x": "no English"}, None),
        **both("d", None, {"x": "no German"}),
        **both("e", {"x": {"y": "deeper"}}, {"x": "flat"}),
        "elsewhere/components/f/translations/de.json": '{"x": "f"}',
        "elsewhere/components/f/translations/en.json": '{"x": "F"}',
    }
    path = tmp_path / "homeassistant-2024.3.3-py3-none-any.whl"
    wmt_data.write_wheel(path, files)
    expected = [Pair("a1", "A1"), Pair("a2", "A2"), Pair("b1", "B1")]
    assert read_home_assistant(path) == expected


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("Gleich", "gleich"),
        ("123 %(n)s", "123! %(n)s"),
        ("{name} öffnen", "Open {title}"),
        ("{n} von {n}", "{n} of"),
        ("%s fehlt", "Missing"),
        ("Siehe https://example.org", "See https://example.org"),
        ("[Hilfe](/hilfe)", "[Help](/help)"),
        ("<b>Fett</b>", "<b>Bold</b>"),
        ("Feld last_name", "Field last_name"),
        ("Temperatur → Ziel", "Temperature to target"),
        ("", "Empty"),
        ("{name}", "{name} "),
        ("Lang " * 40, "Long"),
        ("Kurz", "Short " * 40),
    ],
)
def test_dropped(source, target):
    assert clean([Pair(source, target)]) == []


@pytest.mark.parametrize(
    ("pair", "written"),
    [
        (("Tür\n  öffnen ", "\tOpen\xa0the door"), ("Tür öffnen", "Open the door")),
        (("„Aus“ \N{EN DASH} später …", "'Off', later"), ('"Aus" - später ...', "'Off', later")),
        (("{n} Tage, %(who)s", "%(who)s: {n} days"), ("{n} Tage, %(who)s", "%(who)s: {n} days")),
        (("{entity_name} ist 5°", "{entity_name} is 5°"), None),
        (("a" * MAX_CHARACTERS, "b"), None),
    ],
)
def test_kept(pair, written):
    assert clean([Pair(*pair)]) == [written or pair]


def test_each_pair_once_in_order():
    pairs = [Pair("b", "x"), Pair("a", "y"), Pair("b ", " x"), Pair("b", "z")]
    assert clean(pairs) == [Pair("b", "x"), Pair("a", "y"), Pair("b", "z")]

from __future__ import annotations

import subprocess
import sys

import pytest

from lune.text import contains, is_degenerate, is_hedged, is_refusal, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The capital of France is Paris.", "capital of france is paris"),
        ("  PARIS,\n\tFrance! ", "paris france"),
        ("“The Beatles”", "beatles"),
        ("Brasília; São Tomé — Málaga", "brasilia sao tome malaga"),
        ("Łódź, Tromsø, Straße, Đà Nẵng, İstanbul, Æsir", "lodz tromso strasse da nang istanbul aesir"),
        ("snake_case", "snake case"),
        ("1,000 and 12,34,567 and 1\u202f000", "1000 and 1234567 and 1000"),
        ("3.14 on 14.7.1789.", "3.14 on 14 7 1789"),
        ("Simon & Garfunkel", "simon and garfunkel"),
        ("Vitamin A", "vitamin a"),
        ("A. A. Milne", "a a milne"),
        ("The", ""),
        ("?!…", ""),
        ("", ""),
        ("Par\u00adis\u200b", "paris"),
        ("\uff30\uff41\uff52\uff49\uff53", "paris"),
        ("巴黎。", "巴 黎"),
        ("दिल्ली।", "दिल्ली"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize("text", ["Łódź — “The 1,000th” C++", "J. R. R. Tolkien's", "서울은 3.14 パリ"])
def test_normalise_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


CONTAINED = [
    ("The capital of France is Paris.", "Paris"),
    ("PARIS", "paris"),
    ("It is Paris's left bank", "Paris"),
    ("It is Paris’s left bank", "Paris"),
    ("a Paris-based firm", "Paris"),
    ("not Paris", "Paris"),  # a contradiction still says the answer
    ("I like Beatles songs", "The Beatles"),
    ("It was The Who, live.", "The Who"),
    ("I have seen the Who", "The Who"),
    ("Vitamin A is good", "Vitamin A"),
    ("Jean Paul Sartre", "Jean-Paul Sartre"),
    ("Spider-Man", "Spiderman"),
    ("Spiderman", "Spider-Man"),
    ("J. R. R. Tolkien wrote it", "JRR Tolkien"),
    ("by JRR Tolkien", "J.R.R. Tolkien"),
    ("the USA", "U.S.A."),
    ("the U.S.A. army", "USA"),
    ("Sanaa, Yemen", "Sana'a"),
    ("in Sana\u02bfa", "Sana'a"),
    ("Hawaii", "Hawai\u02bbi"),
    ("L'Aquila", "Aquila"),
    ("Winnie the Pooh", "Winnie-the-Pooh"),
    ("Lodz", "Łódź"),
    ("Bogotá", "Bogota"),
    ("about 1000 people", "1,000"),
    ("about 1,000 people", "1000"),
    ("$1,000.50", "1000.50"),
    ("It costs 5 million", "$5 million"),
    ("€20", "20"),
    ("on 14.7.1789", "1789"),
    ("in 1939-1945", "1945"),
    ("Simon and Garfunkel", "Simon & Garfunkel"),
    ("written in C++.", "C++"),
    ("法国的首都是巴黎。", "巴黎"),
    ("首都是Paris吗", "Paris"),
    ("フランスの首都はパリです", "パリ"),
    ("수도는 파리입니다", "파리"),
    ("เมืองหลวงคือปารีส", "ปารีส"),
    ("यह दिल्ली है", "दिल्ली"),
    ("Столица — Москва́.", "Москва"),
    ("عَاصِمَة بَارِيس", "باريس"),
    ("A", "A"),
    ("a", "A"),
    ("A) Paris", "A"),
    ("The answer is A.", "A"),
    ("The US army", "US"),
    ("in May 1945", "May"),
    ("may", "May"),
    ("it was in may", "May"),
    ("King wrote It.", "It"),
    ("1 + 1", "+"),
    ("🦁!", "🦁"),
]


@pytest.mark.parametrize(("answer", "expected"), CONTAINED)
def test_contains(answer: str, expected: str) -> None:
    assert contains(answer, [expected])


NOT_CONTAINED = [
    ("Nigeria", "Niger"),
    ("Comparison", "Paris"),
    ("Who wrote it?", "The Who"),
    ("Vitamin C is good", "Vitamin A"),
    ("he'll go", "hell"),
    ("1,000", "1"),
    ("10000", "1,000"),
    ("5.5 metres", "5"),
    ("1990s", "1990"),
    ("It is C", "C++"),
    ("C++ and C#", "C"),
    ("インドネシアです", "インド"),
    ("दिन", "दिल्ली"),
    ("は", "ば"),
    ("A city in France", "A"),
    ("It is a city", "A"),
    ("I cannot tell us apart from Them", "US"),
    ("It may be June", "May"),
    ("It is a novel", "It"),
    ("I ran away", "Iran"),
    ("To go there", "Togo"),
    ("", "Paris"),
    ("Paris", ""),
    ("Paris", "  "),
    ("...", "?"),
]


@pytest.mark.parametrize(("answer", "expected"), NOT_CONTAINED)
def test_contains_not(answer: str, expected: str) -> None:
    assert not contains(answer, [expected])


def test_contains_takes_any_spelling_and_a_bare_string_is_one_spelling() -> None:
    assert contains("They live in Burma", ["Myanmar", "Burma"])
    assert not contains("Rome", [])
    assert not contains("Rome a p r i s", "Paris")
    assert contains("Paris", "Paris")


REFUSALS = [
    "I do not know.",
    "I don't know",
    "I don’t have that information.",
    "I'm sorry, but I cannot answer that.",
    "Sorry, I can't help with that.",
    "I am not sure.",
    "As an AI language model, I ...",
    "There is no information available.",
    "I have no idea.",
    "I CANNOT ANSWER",
    "i do not know",
    "Unfortunately, I am unable to provide this.",
    "It cannot be determined.",
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals(answer: str) -> None:
    assert is_refusal(answer)
    assert is_hedged(answer)


@pytest.mark.parametrize(
    "answer",
    ["Paris", "", "I Don't Want to Miss a Thing", "(I Can't Get No) Satisfaction", "I do like it", "Sorry", "Chopin"],
)
def test_names_are_no_refusals(answer: str) -> None:
    assert not is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I think it is Paris",
        "It might be Rome.",
        "It may be Rome",
        "Perhaps Rome",
        "Rome, probably",
        "Rome. Maybe Milan.",
        "unknown",
        "The author is unknown.",
        "It is most likely Oslo",
        "PERHAPS ROME",
        "It depends.",
    ],
)
def test_hedges(answer: str) -> None:
    assert is_hedged(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "May",
        "May 1945",
        "Theresa May",
        "Cape May",
        "Call Me Maybe",
        "I Believe in You",
        "Tomb of the Unknown Soldier",
        "Will Smith",
        "Mount Hope",
        "The Might of Rome",
        "",
    ],
)
def test_names_are_no_hedges(answer: str) -> None:
    assert not is_hedged(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n",
        "...",
        "!!!!!!",
        "and and and and",
        "Paris, Paris, Paris",
        "the capital of the capital of the capital of the capital",
        "hahahahahaha",
        "ParisParisParisParisParis",
        "巴黎巴黎巴黎巴黎巴黎巴黎",
    ],
)
def test_degenerate(answer: str) -> None:
    assert is_degenerate(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "A",
        "Paris",
        "New York, New York",
        "1000000000000",
        "The quick brown fox jumps over the lazy dog and the cat sleeps on the mat.",
        "法国的首都是巴黎。",
        "กรุงเทพมหานครเป็นเมืองหลวงและเมืองที่ใหญ่ที่สุดของประเทศไทย",
    ],
)
def test_not_degenerate(answer: str) -> None:
    assert not is_degenerate(answer)


def test_seven_words_of_one_kind_are_no_loop_by_share_alone() -> None:
    assert not is_degenerate("x y x y x y x")
    assert is_degenerate("x y x y x y x y")


def test_the_module_needs_no_torch_and_no_numpy() -> None:
    code = (
        "import sys, importlib.util as u; s = u.spec_from_file_location('text', sys.argv[1]); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy')))"
    )
    path = sys.modules["lune.text"].__file__
    assert path is not None
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 0
